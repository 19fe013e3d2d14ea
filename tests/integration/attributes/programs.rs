// SPDX-License-Identifier: MIT
//! Real programs that change modes, owners and times: what they do outside they do inside.

use super::*;

/// What a script prints and leaves behind is the same with and without walls.
#[track_caller]
fn expect_as_bare(script: &str) {
    let confined = project();
    let bare = project();
    let inside = shell(&confined, script);
    let outside = bare_shell(&bare, script);
    outside.expect_success();
    inside.expect_success();
    assert_eq!(inside.stdout, outside.stdout, "{script}");
    assert_eq!(inside.stderr, outside.stderr, "{script}");
}

#[test]
fn copying_keeps_modes_and_times() {
    expect_as_bare(
        "umask 022; cd box; touch -d @1000000000 file.txt; chmod 751 file.txt
         cp -p file.txt copy; cp -a sub tree; touch -d @1100000000 tree; touch -h -d @5 leaves
         install -m 640 file.txt installed; mv file.txt moved; mkdir -m 700 made
         stat -c '%n %a %Y' copy moved tree leaves; stat -c '%n %a' installed made",
    );
}

#[test]
fn archives_are_unpacked() {
    expect_as_bare(
        "umask 022; cd box; mkdir from; echo text > from/file; echo text > from/read-only
         ln -s file from/link; mkdir from/closed; echo x > from/closed/x
         chmod 640 from/file; chmod 444 from/read-only; chmod 711 from/closed
         touch -d @1000000000 from/file from/closed from
         tar -cf archive.tar from; mkdir to; tar -xpf archive.tar -C to
         cd to; stat -c '%n %a %Y' from from/file from/closed; stat -c '%n %a' from/read-only",
    );
}

#[test]
fn repositories_are_made_and_committed_to() {
    expect_as_bare(
        "cd box; mkdir repository; cd repository
         export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE=@1000000000
         export GIT_COMMITTER_DATE=@1000000000
         git init -q -b main .; git config user.name N; git config user.email n@example.org
         echo text > file; chmod +x file; git add file; git commit -q -m one
         git checkout -q -b other; echo more >> file; git commit -qam two; git checkout -q main
         git merge -q other; git gc -q; git clone -q . ../clone; git -C ../clone log --format=%s
         stat -c %a file ../clone/file; git fsck",
    );
}

#[test]
fn temporary_files_take_their_place_with_times_and_modes() {
    // As rsync does it.
    let code = r#"
import os, tempfile
fd, name = tempfile.mkstemp(dir="box")
os.write(fd, b"new")
os.fchmod(fd, 0o644)
os.fchown(fd, os.getuid(), os.getgid())
os.close(fd)
os.utime(name, ns=(10**18, 10**18 + 5), follow_symlinks=False)
os.chmod(name, 0o604)
os.chown(name, os.getuid(), os.getgid(), follow_symlinks=False)
os.rename(name, "box/file.txt")
found = os.stat("box/file.txt")
print(oct(found.st_mode), found.st_mtime_ns)
"#;
    let (confined, bare) = (project(), project());
    let expected = bare_python(&bare, code);
    expected.expect_output("0o100604 1000000000000000005\n");
    python_child(&confined, code).expect_same(&expected);
}

#[test]
fn databases_are_written() {
    let script = r#"
        import { DatabaseSync } from "node:sqlite";
        const database = new DatabaseSync("box/data.db");
        database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1), (2);");
        console.log(database.prepare("SELECT sum(x) AS s FROM t").get().s);
        database.close();
    "#;
    let flags = [
        "run",
        "--allow-read=box",
        "--allow-write=box",
        "database.ts",
    ];
    let (confined, bare) = (
        project().file("database.ts", script),
        project().file("database.ts", script),
    );
    let expected = bare.bare(&flags).run();
    expected.expect_output("3\n");
    confined.stockade(&flags).run().expect_same(&expected);
    let code = "
import sqlite3
database = sqlite3.connect('box/python.db')
database.execute('create table t (x)')
database.execute('insert into t values (3)')
database.commit()
print(database.execute('select x from t').fetchone())
";
    python_child(&confined, code).expect_output("(3,)\n");
}
