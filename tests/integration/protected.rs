// SPDX-License-Identifier: MIT
//! Protected paths inside write grants: closed whether they exist or not, while everything around
//! them can be made, renamed and removed as if nobody stood between.

mod races;
mod tools;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use libc::EACCES;

use crate::support::{Launch, Outcome, Project, python};

/// A repository with a hook, a project file and room for more.
fn project() -> Project {
    Project::new()
        .file(".git/HEAD", "ref: refs/heads/main\n")
        .file(".git/objects/.keep", "")
        .file(".git/hooks/old", "old")
        .file(".git/config", "[core]\n")
        .file("package.json", "{}")
        .file("src/main.c", "")
        .file("note.txt", "note")
}

/// Names of attempts in Python, with what answers each: 0, or the number of the error.
const PRELUDE: &str = r#"
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, EXCHANGE, NOREPLACE = -100, 2, 1
def checked(result):
    if result < 0: raise OSError(ctypes.get_errno(), "call")
    return result
def renameat2(old, new, flags):
    checked(libc.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags))
def linkat(old, new):
    checked(libc.linkat(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), 0x400))
def write(path, flags=0, text=b"evil"):
    fd = os.open(path, os.O_WRONLY | flags, 0o666)
    os.write(fd, text)
    os.close(fd)
def create(path): write(path, os.O_CREAT)
def replace(path):
    write("temporary", os.O_CREAT)
    try: os.rename("temporary", path)
    finally:
        if os.path.lexists("temporary"): os.unlink("temporary")
answers = {}
def attempt(name, what):
    try:
        what()
        answers[name] = 0
    except OSError as error:
        answers[name] = error.errno
"#;

type Answers = BTreeMap<String, i32>;

fn code(attempts: &[(&str, &str)]) -> String {
    let mut code = PRELUDE.to_owned();
    for (name, what) in attempts {
        code.push_str(&format!("attempt({name:?}, lambda: {what})\n"));
    }
    code + "print(json.dumps(answers))\n"
}

fn answers(outcome: &Outcome) -> Answers {
    outcome.expect_success();
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// Python in a confined program, with these flags beside the ones it starts by.
fn confined(project: &Project, flags: &[&str], code: &str) -> Launch {
    let python = python().to_str().unwrap();
    let mut all = vec!["--allow-run", "--allow-read"];
    all.extend(flags);
    project.start(&all, &[python, "-c", code])
}

/// Every attempt is refused with `flags` and passes with `twin`, and without walls; each in a project
/// of its own.
#[track_caller]
fn expect_closed(
    make: impl Fn() -> Project,
    flags: &[&str],
    twin: &[&str],
    attempts: &[(&str, &str)],
) {
    for (name, what) in attempts {
        let code = code(&[(name, what)]);
        let bare = make();
        let outside = answers(&bare.launch(python(), &["-c", &code]).run());
        assert_eq!(outside[*name], 0, "`{name}` must work without walls");
        let opened = make();
        let allowed = confined(&opened, twin, &code).run();
        assert_eq!(
            answers(&allowed)[*name],
            0,
            "`{name}` with {twin:?}: {}",
            allowed.stderr
        );
        let closed = make();
        let denied = confined(&closed, flags, &code).run();
        assert_eq!(answers(&denied)[*name], EACCES, "`{name}` with {flags:?}");
        denied.expect_error("denied: write to ");
    }
}

/// Every attempt passes with `flags` as it does without walls.
#[track_caller]
fn expect_open(make: impl Fn() -> Project, flags: &[&str], attempts: &[(&str, &str)]) {
    let code = code(attempts);
    let bare = make();
    let outside = answers(&bare.launch(python(), &["-c", &code]).run());
    let inside = make();
    let outcome = confined(&inside, flags, &code).run();
    assert_eq!(answers(&outcome), outside, "{}", outcome.stderr);
    assert!(outside.values().any(|answer| *answer == 0));
    outcome.expect_nowhere("denied: write to ");
}

#[test]
fn protected_names_are_closed_and_a_grant_that_names_them_opens_them() {
    let twin =
        ["--allow-write=.,.git/hooks,.git/config,package.json,deno.json,node_modules/,.envrc"];
    expect_closed(
        project,
        &["--allow-write=."],
        &twin,
        &[
            ("write a hook", "write('.git/hooks/old')"),
            ("make a hook", "create('.git/hooks/pre-commit')"),
            ("make a directory among hooks", "os.mkdir('.git/hooks/x')"),
            ("remove a hook", "os.unlink('.git/hooks/old')"),
            ("shorten configuration", "os.truncate('.git/config', 0)"),
            (
                "open and shorten",
                "os.open('.git/config', os.O_RDONLY | os.O_TRUNC)",
            ),
            ("replace configuration", "replace('.git/config')"),
            ("move a file there", "os.rename('note.txt', 'package.json')"),
            ("make a link to it", "os.link('package.json', 'alias')"),
        ],
    );
}

#[test]
fn protected_names_are_closed_before_they_exist() {
    for (name, twin) in [
        ("deno.json", "--allow-write=.,deno.json"),
        (".envrc", "--allow-write=.,.envrc"),
    ] {
        let made = [
            ("write", format!("create('{name}')")),
            ("replace", format!("replace('{name}')")),
        ];
        let attempts: Vec<(&str, &str)> = made.iter().map(|(a, b)| (*a, b.as_str())).collect();
        expect_closed(project, &["--allow-write=."], &[twin], &attempts);
    }
    // Nothing but a directory that holds nothing protected lets these be made.
    let wide = || Project::new().file("src/main.c", "");
    let elsewhere = |what: &str| what.replace("NAME", "other");
    for name in [
        "node_modules",
        ".envrc",
        "deno.lock",
        ".git/hooks",
        ".vscode",
    ] {
        let parent = name.split_once('/').map_or("", |(parent, _)| parent);
        for what in [
            "os.mkdir('NAME')",
            "create('NAME')",
            "os.symlink('/tmp', 'NAME')",
            "os.mkfifo('NAME')",
            "os.link('src/main.c', 'NAME')",
            "os.rename('src', 'NAME')",
        ] {
            let make = if parent.is_empty() {
                String::new()
            } else {
                format!("os.path.isdir('{parent}') or os.mkdir('{parent}')")
            };
            let prepared = |what: &str| {
                let mut all = Vec::new();
                if !make.is_empty() {
                    all.push(("prepare", make.clone()));
                }
                all.push(("attempt", what.to_owned()));
                all
            };
            let run = |what: &str| {
                let project = wide();
                let owned = prepared(what);
                let attempts: Vec<(&str, &str)> = owned
                    .iter()
                    .map(|(name, what)| (*name, what.as_str()))
                    .collect();
                let code = code(&attempts);
                let inside = answers(&confined(&project, &["--allow-write=."], &code).run());
                let bare = wide();
                let outside = answers(&bare.launch(python(), &["-c", &code]).run());
                assert_eq!(outside["attempt"], 0);
                inside["attempt"]
            };
            assert_eq!(run(&what.replace("NAME", name)), EACCES, "{what} {name}");
            assert_eq!(run(&elsewhere(what)), 0, "{what}");
        }
    }
}

#[test]
fn nothing_that_leads_to_a_protected_path_is_moved_or_replaced() {
    let make = || {
        let project = project()
            .file("other/hooks/evil", "evil")
            .file("cwd/inner/main.txt", "");
        symlink("other", project.path("link")).unwrap();
        project
    };
    expect_closed(
        make,
        &["--allow-write=."],
        &["--allow-write=.,.git/hooks,.git/config,.git/commondir,.git/config.worktree"],
        &[
            ("move it away", "os.rename('.git', 'git2')"),
            ("exchange it", "renameat2('.git', 'other', EXCHANGE)"),
            (
                "exchange it the other way",
                "renameat2('other', '.git', EXCHANGE)",
            ),
        ],
    );
    for what in [
        "os.rename('other', '.git')",
        "os.symlink('other', '.git')",
        "os.rename('link', '.git')",
        "create('.git')",
        "os.link('note.txt', '.git')",
        "os.rename('note.txt', '.git')",
        "renameat2('other', '.git', NOREPLACE)",
    ] {
        let attempts = [("attempt", what)];
        let project = make_without_repository();
        let inside = confined(&project, &["--allow-write=."], &code(&attempts)).run();
        assert_eq!(answers(&inside)["attempt"], EACCES, "{what}");
        assert!(!project.has(".git"), "{what}");
        // Made where nothing looks for it, the same passes.
        let sub = what
            .replace("'.git'", "'other/.git'")
            .replace("rename('other'", "rename('src'");
        let sub = sub.replace("renameat2('other'", "renameat2('src'");
        let project = make_without_repository();
        let attempts = [("attempt", sub.as_str())];
        let inside = confined(&project, &["--allow-write=."], &code(&attempts)).run();
        assert_eq!(answers(&inside)["attempt"], 0, "{sub}: {}", inside.stderr);
    }
    // Its directory can be made, and what git keeps there, but for what it runs.
    let project = make_without_repository();
    let attempts = [
        ("directory", "os.mkdir('.git')"),
        ("object", "create('.git/HEAD')"),
        ("hooks", "os.mkdir('.git/hooks')"),
        ("configuration", "create('.git/config')"),
        ("elsewhere", "create('.git/commondir')"),
        (
            "case",
            "create('.GIT/CONFIG') if os.path.exists('.GIT') else os.mkdir('.git/HOOKS')",
        ),
        ("empty it", "os.unlink('.git/HEAD')"),
        ("remove it", "os.rmdir('.git')"),
    ];
    let inside = confined(&project, &["--allow-write=."], &code(&attempts)).run();
    let seen = answers(&inside);
    for (name, expected) in [
        ("directory", 0),
        ("object", 0),
        ("hooks", EACCES),
        ("configuration", EACCES),
        ("elsewhere", EACCES),
        ("case", EACCES),
        ("empty it", 0),
        ("remove it", 0),
    ] {
        assert_eq!(seen[name], expected, "{name}");
    }
}

fn make_without_repository() -> Project {
    let project = Project::new()
        .file("other/hooks/evil", "evil")
        .file("src/main.c", "")
        .file("note.txt", "");
    symlink("other", project.path("link")).unwrap();
    project
}

#[test]
fn a_directory_does_not_become_a_repository_without_a_git_directory() {
    let made = [
        ("make HEAD", "create('HEAD')"),
        ("move it there", "os.rename('note.txt', 'HEAD')"),
    ];
    let twin = ["--allow-write=.,HEAD"];
    expect_closed(make_without_repository, &["--allow-write=."], &twin, &made);
    // One that is such a repository: its hooks and configuration are closed, and git's own files not.
    let bare = || {
        Project::new()
            .file("HEAD", "ref: refs/heads/main\n")
            .file("objects/keep", "")
            .file("refs/keep", "")
            .file("config", "[core]\n")
            .file("hooks/old", "")
    };
    let closed = [
        ("configure", "create('config')"),
        ("make a hook", "create('hooks/new')"),
    ];
    expect_closed(
        bare,
        &["--allow-write=."],
        &["--allow-write=.,config,hooks/"],
        &closed,
    );
    expect_open(
        bare,
        &["--allow-write=."],
        &[("move HEAD", "create('HEAD')")],
    );
}

#[test]
fn a_directory_around_the_project_is_not_moved_either() {
    let make = || {
        Project::new()
            .file("work/inner/package.json", "{}")
            .file("other/inner/package.json", "evil")
    };
    let attempts = [
        ("move", "os.rename('../../work', '../../work2')"),
        (
            "exchange",
            "renameat2('../../work', '../../other', EXCHANGE)",
        ),
        ("move the inner one", "os.rename('../inner', '../inner2')"),
    ];
    for (name, what) in attempts {
        let code = code(&[(name, what)]);
        let python = python().to_str().unwrap();
        let project = make();
        project.write("work/inner/go.ts", START);
        let grant = format!("--allow-write={}", project.path(""));
        let inside = project
            .stockade(&[
                "run",
                "--allow-run",
                "--allow-read",
                &grant,
                "go.ts",
                python,
                "-c",
                &code,
            ])
            .directory(&project.directory().join("work/inner"))
            .run();
        assert_eq!(answers(&inside)[name], EACCES, "{name}: {}", inside.stderr);
        let outside = make();
        let outcome = outside
            .launch(crate::support::python(), &["-c", &code])
            .directory(&outside.directory().join("work/inner"))
            .run();
        assert_eq!(answers(&outcome)[name], 0, "{name}");
    }
}

/// Starts its arguments and passes on what they say.
const START: &str = r#"
const [program, ...args] = Deno.args;
const { code } = await new Deno.Command(program, { args, stdout: "inherit", stderr: "inherit" }).output();
Deno.exit(code);
"#;

#[test]
fn other_ways_to_write_lead_nowhere() {
    let make = || {
        let project = project().file("sub/deep/x", "");
        symlink(".git/hooks", project.path("hooks")).unwrap();
        symlink("../.git/config", project.path("sub/config")).unwrap();
        symlink("deno.json", project.path("dangling")).unwrap();
        project
    };
    expect_closed(
        make,
        &["--allow-write=."],
        &["--allow-write=.,.git/hooks,.git/config,deno.json,package.json"],
        &[
            ("dots", "create('sub/deep/../../.git/hooks/x')"),
            ("a link to the directory", "create('hooks/x')"),
            ("a link to the file", "write('sub/config')"),
            ("a link to nothing", "create('dangling')"),
            (
                "a directory's descriptor",
                "os.open('x', os.O_WRONLY | os.O_CREAT, dir_fd=os.open('.git/hooks', os.O_RDONLY))",
            ),
            (
                "a path's descriptor",
                "os.open('x', os.O_WRONLY | os.O_CREAT, dir_fd=os.open('.git/hooks', os.O_PATH))",
            ),
            (
                "an open file once more",
                "write('/proc/self/fd/%d' % os.open('package.json', os.O_RDONLY))",
            ),
            (
                "a file without a name",
                "linkat('/proc/self/fd/%d' % os.open('.', os.O_TMPFILE | os.O_WRONLY), '.git/hooks/x')",
            ),
            (
                "a name for an open file",
                "linkat('/proc/self/fd/%d' % os.open('package.json', os.O_RDONLY), 'alias')",
            ),
        ],
    );
}

#[test]
fn plans_without_protected_paths_pay_nothing() {
    let project = project().file("out/.keep", "").file("main.ts", "");
    let asks = |flag: &str| {
        let outcome = project.stockade(&["explain", flag, "main.ts"]).run();
        outcome.expect_success();
        let asked = outcome
            .stdout
            .lines()
            .find(|line| line.contains("asks"))
            .unwrap_or_default()
            .to_owned();
        asked.contains("openat")
    };
    assert!(!asks("--allow-write=out"));
    assert!(!asks("--allow-write=note.txt"));
    assert!(!asks("--allow-write=package.json"));
    assert!(!asks("--allow-write=.git/hooks"));
    assert!(asks("--allow-write=.git"));
    assert!(asks("--allow-write=."));
    assert!(asks("--allow-write"));
    assert!(asks("-A"));
}

#[test]
fn everything_else_works_beside_them() {
    let make = || {
        let project = project().file("tree/a/b/c", "c");
        symlink("note.txt", project.path("link")).unwrap();
        project
    };
    expect_open(
        make,
        &["--allow-write=."],
        &[
            ("make", "create('new')"),
            (
                "make again",
                "os.open('new', os.O_CREAT | os.O_EXCL | os.O_WRONLY)",
            ),
            ("append", "write('new', os.O_APPEND)"),
            ("through a link", "write('link')"),
            ("not through a link", "write('link', os.O_NOFOLLOW)"),
            ("missing", "write('missing')"),
            ("a directory", "write('src')"),
            ("make a directory", "os.mkdir('d/')"),
            ("make it again", "os.mkdir('d')"),
            ("name a file with a slash", "create('x/')"),
            ("rename", "os.rename('new', 'd/new')"),
            ("rename a directory", "os.rename('tree', 'd/tree/')"),
            ("rename into itself", "os.rename('d', 'd/tree/d')"),
            ("not replace", "renameat2('note.txt', 'd/new', NOREPLACE)"),
            ("exchange", "renameat2('note.txt', 'd/new', EXCHANGE)"),
            (
                "exchange with nothing",
                "renameat2('note.txt', 'nothing', EXCHANGE)",
            ),
            ("replace", "os.replace('d/new', 'note.txt')"),
            (
                "replace a directory by a file",
                "os.replace('note.txt', 'd')",
            ),
            ("link", "os.link('note.txt', 'second')"),
            ("link to a directory", "os.link('d', 'third')"),
            ("symbolic link", "os.symlink('anywhere', 'd/link')"),
            ("pipe", "os.mkfifo('d/pipe')"),
            ("open a pipe both ways", "os.open('d/pipe', os.O_RDWR)"),
            (
                "open a pipe nobody reads",
                "os.open('d/pipe', os.O_WRONLY | os.O_NONBLOCK)",
            ),
            ("node", "os.mknod('d/node')"),
            ("shorten", "os.truncate('note.txt', 1)"),
            ("shorten below nothing", "os.truncate('note.txt', -1)"),
            ("shorten a directory", "os.truncate('d', 0)"),
            ("nameless", "os.open('d', os.O_TMPFILE | os.O_RDWR)"),
            (
                "name it",
                "linkat('/proc/self/fd/%d' % os.open('d', os.O_TMPFILE | os.O_WRONLY), 'd/named')",
            ),
            ("remove a directory with unlink", "os.unlink('d')"),
            ("remove a full directory", "os.rmdir('d')"),
            ("remove a file with rmdir", "os.rmdir('note.txt')"),
            ("remove", "os.unlink('d/pipe')"),
            ("remove what is not there", "os.unlink('d/pipe')"),
            ("object", "create('.git/index.lock')"),
            ("index", "os.rename('.git/index.lock', '.git/index')"),
            ("no path", "os.open('', os.O_WRONLY)"),
            ("long name", "create('n' * 256)"),
            ("long path", "create('n/' * 2500)"),
            ("null device", "write('/dev/null')"),
            ("root", "os.open('/', os.O_WRONLY)"),
            ("here", "os.mkdir('.')"),
            ("remove here", "os.rmdir('.')"),
        ],
    );
}

#[test]
fn modes_of_protected_paths_stay() {
    let attempts = code(&[("mode", "os.chmod('.git/hooks/old', 0o777)")]);
    let closed = project();
    let outcome = confined(&closed, &["--allow-write=."], &attempts).run();
    assert_eq!(answers(&outcome)["mode"], libc::EPERM);
    let opened = project();
    let flags = ["--allow-write=.,.git/hooks"];
    assert_eq!(
        answers(&confined(&opened, &flags, &attempts).run())["mode"],
        0
    );
    let neighbour = code(&[("mode", "os.chmod('.git/HEAD', 0o600)")]);
    let outcome = confined(&closed, &["--allow-write=."], &neighbour).run();
    assert_eq!(answers(&outcome)["mode"], 0);
}

#[test]
fn policy_files_and_what_they_name_are_protected() {
    let policy = "version: 1\npermissions: {read: true, write: [.], run: true}\nprotect: [note.txt, later/]\n";
    let make = || project().file("ci.yaml", policy);
    let attempts = code(&[
        ("named", "write('note.txt')"),
        ("named and absent", "os.mkdir('later')"),
        ("the file", "write('ci.yaml')"),
        ("beside", "create('other.yaml')"),
    ]);
    let run = |flags: &[&str]| {
        let project = make();
        let python = python().to_str().unwrap();
        let outcome = project.start(flags, &[python, "-c", &attempts]).run();
        answers(&outcome).into_values().collect::<Vec<i32>>()
    };
    let plain = ["--allow-run", "--allow-read", "--allow-write=."];
    assert_eq!(run(&plain), [0; 4]);
    // In the order of their names.
    assert_eq!(run(&["--policy=./ci.yaml"]), [0, EACCES, EACCES, EACCES]);
    let named = [
        "--policy=./ci.yaml",
        "--allow-write=note.txt,ci.yaml,later/",
    ];
    assert_eq!(run(&named), [0, 0, libc::EEXIST, 0]);
}

#[test]
fn denials_of_what_does_not_exist_yet_hold() {
    let make = || project().file("src/x", "");
    let denied = ["--allow-write=.", "--deny-write=later,src/secret"];
    let attempts = [
        ("make", "create('later')"),
        ("a directory", "os.mkdir('later')"),
        ("move", "os.rename('note.txt', 'src/secret')"),
        ("the way", "os.rename('src', 'src2')"),
    ];
    expect_closed(make, &denied, &["--allow-write=."], &attempts);
    // A grant of the same does not win over it.
    let both = ["--allow-write=.,later", "--deny-write=later"];
    let outcome = confined(&make(), &both, &code(&[("make", "create('later')")])).run();
    assert_eq!(answers(&outcome)["make"], EACCES, "{}", outcome.stderr);
    let explained = make();
    explained
        .stockade(&["explain", "--allow-write=.", "--deny-write=later", "--why=write:later"])
        .run()
        .expect_output(&format!(
            "denied: the supervisor writes nothing at `{}`, because of --deny-write=later\nhint: leave out `--deny-write=later`\n",
            explained.path("later")
        ));
}
