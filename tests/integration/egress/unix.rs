// SPDX-License-Identifier: MIT
//! Sockets with paths: which of them a grant opens, by which ways a path leads there, and what the
//! supervisor's own process looks like while it answers.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{EACCES, EADDRINUSE, EINVAL, ENOENT};

use crate::egress::servers::Server;
use crate::egress::world::{World, compiled, free};
use crate::machine::superuser;
use crate::support::{Answers, Project, expect_errno, expect_not_errno, python};

fn attack() -> String {
    compiled("attack", include_str!("../../data/net/attack.c"), &[])
}

fn inside<S: AsRef<str>>(world: &World, flags: &[&str], items: &[S]) -> Answers {
    let program = attack();
    let mut command = vec![program.as_str()];
    command.extend(items.iter().map(AsRef::as_ref));
    world.child(flags, &command).expect_answers(items)
}

fn outside<S: AsRef<str>>(world: &World, items: &[S]) -> Answers {
    let program = attack();
    let mut command = vec![program.as_str()];
    command.extend(items.iter().map(AsRef::as_ref));
    world.outside(&command).expect_answers(items)
}

/// A server at a path that counts who came.
struct Service {
    hits: Arc<AtomicUsize>,
}

impl Service {
    fn start(path: &str) -> Self {
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&hits);
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { hits }
    }

    /// Connections are counted a moment after they are made.
    fn expect(&self, hits: usize) {
        for _ in 0..400 {
            if self.hits.load(Ordering::SeqCst) == hits {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(self.hits.load(Ordering::SeqCst), hits);
    }
}

/// A network rule that turns the supervisor on and grants nothing here.
const ELSEWHERE: &str = "--allow-net=192.0.2.1:1";

#[test]
fn services_of_the_machine_are_reached_by_grants_only() {
    let world = World::new();
    let names = [
        "run/docker.sock",
        "ssh/agent.17",
        "run/nscd/socket",
        "run/systemd/resolve/io.systemd.Resolve",
        "run/avahi-daemon/socket",
    ];
    let services = names.map(|name| Service::start(&world.project.path(name)));
    let items = names.map(|name| format!("unix:1:{}", world.project.path(name)));
    let control = outside(&world, &items);
    for (item, service) in items.iter().zip(&services) {
        expect_errno(&control, item, &[0]);
        service.expect(1);
    }
    let here = world.project.directory().display();
    let (read, write) = (format!("-R={here}"), format!("-W={here}"));
    for flags in [
        vec![ELSEWHERE],
        vec![ELSEWHERE, &*read],
        vec![ELSEWHERE, &*write],
    ] {
        let answers = inside(&world, &flags, &items);
        for (item, service) in items.iter().zip(&services) {
            expect_errno(&answers, item, &[EACCES]);
            service.expect(1);
        }
    }
    let answers = inside(&world, &[ELSEWHERE, &read, &write], &items);
    for (item, service) in items.iter().zip(&services) {
        expect_errno(&answers, item, &[0]);
        service.expect(2);
    }
    let rule = format!("--allow-net=unix:{}", world.project.path(names[1]));
    let answers = inside(&world, &[&rule], &items);
    for (item, service) in items.iter().zip(&services) {
        let granted = item == &items[1];
        expect_errno(&answers, item, &[if granted { 0 } else { EACCES }]);
        service.expect(if granted { 3 } else { 2 });
    }
}

#[test]
fn denials_win_over_grants_around_them() {
    let world = World::new();
    let names = ["box/open.sock", "box/shut.sock", "box/sub/below.sock"];
    let services = names.map(|name| Service::start(&world.project.path(name)));
    let path = |name: &str| world.project.path(name);
    let items = names.map(|name| format!("unix:1:{}", path(name)));
    let (read, write) = (format!("-R={}", path("box")), format!("-W={}", path("box")));
    let grants = [ELSEWHERE, read.as_str(), write.as_str()];
    let mut hits = [0; 3];
    for (denial, shut) in [
        (None, [false; 3]),
        (
            Some(format!("--deny-net=unix:{}", path("box/shut.sock"))),
            [false, true, false],
        ),
        (
            Some(format!("--deny-read={}", path("box/sub"))),
            [false, false, true],
        ),
        (
            Some(format!("--deny-write={}", path("box/shut.sock"))),
            [false, true, false],
        ),
    ] {
        let flags: Vec<&str> = grants.into_iter().chain(denial.as_deref()).collect();
        let answers = inside(&world, &flags, &items);
        for (number, item) in items.iter().enumerate() {
            let closed = shut[number];
            expect_errno(&answers, item, &[if closed { EACCES } else { 0 }]);
            hits[number] += usize::from(!closed);
            services[number].expect(hits[number]);
        }
    }
}

#[test]
fn every_way_to_write_a_path_leads_to_the_same_socket() {
    let world = World::new();
    let path = |name: &str| world.project.path(name);
    let (good, evil) = (
        Service::start(&path("box/good.sock")),
        Service::start(&path("out/evil.sock")),
    );
    symlink(path("out/evil.sock"), path("box/link.sock")).unwrap();
    symlink(path("box/good.sock"), path("out/link.sock")).unwrap();
    symlink(path("out"), path("box/directory")).unwrap();
    symlink(path("box"), path("out/directory")).unwrap();
    let ways = |socket: &str, other: &str, own: &str| {
        vec![
            format!("unix:1:{}", path(&format!("{own}/{socket}"))),
            format!("unix:5:{}", path(&format!("{own}/{socket}"))),
            format!("unix:1:{}", path(&format!("{other}/../{own}/./{socket}"))),
            format!("unix:1:{}", path(&format!("{other}/link.sock"))),
            format!("unix:1:{}", path(&format!("{other}/directory/{socket}"))),
            format!("unix:1:{own}/{socket}"),
            format!("unix_relative:1:{}", path(&format!("{own}/{socket}"))),
            format!("unix_full:1:{}", path(&format!("{own}/{socket}"))),
            format!("unix_opened:1:{}", path(&format!("{own}/{socket}"))),
        ]
    };
    // A stream socket's server is no server of packets.
    let wrong_kind = [0, libc::EPROTOTYPE];
    let (to_good, to_evil) = (
        ways("good.sock", "out", "box"),
        ways("evil.sock", "box", "out"),
    );
    let magic = |name: &str| format!("unix:1:/proc/self/root{}", path(name));
    let odd = [
        (format!("unix:1:{}/", path("box/good.sock")), libc::ENOTDIR),
        (format!("unix:1:{}", path("box/absent.sock")), ENOENT),
        (format!("unix:1:{}", path("box")), libc::ECONNREFUSED),
        (format!("unix_longer:1:{}", path("box/good.sock")), EINVAL),
    ];
    let odd_items: Vec<&str> = odd.iter().map(|(item, _)| item.as_str()).collect();
    let control = outside(
        &world,
        &[&to_good[..], &to_evil, &[magic("out/evil.sock")]].concat(),
    );
    for item in to_good.iter().chain(&to_evil) {
        expect_errno(&control, item, &wrong_kind);
    }
    expect_errno(&control, &magic("out/evil.sock"), &[0]);
    let odd_outside = outside(&world, &odd_items);
    for (item, errno) in &odd {
        expect_errno(&odd_outside, item, &[*errno]);
    }
    let reached = to_good.len() - 1;
    good.expect(reached);
    evil.expect(reached + 1);
    let here = format!("-R={}", world.project.directory().display());
    let write = format!("-W={}", path("box"));
    let flags = [ELSEWHERE, &here, &write];
    let answers = inside(&world, &flags, &to_good);
    for item in &to_good {
        expect_errno(&answers, item, &wrong_kind);
    }
    good.expect(reached * 2);
    let answers = inside(
        &world,
        &flags,
        &[&to_evil[..], &[magic("out/evil.sock")]].concat(),
    );
    for item in to_evil.iter().chain(&[magic("out/evil.sock")]) {
        expect_errno(&answers, item, &[EACCES]);
    }
    evil.expect(reached + 1);
    let answers = inside(&world, &flags, &odd_items);
    for (item, errno) in &odd {
        expect_errno(&answers, item, &[*errno]);
    }
}

#[test]
fn sockets_are_made_where_files_may_be() {
    let world = World::new().file_tree();
    let path = |name: &str| world.project.path(name);
    symlink(path("out"), path("box/directory")).unwrap();
    symlink(path("box"), path("out/directory")).unwrap();
    let bind = |path: String| format!("unix_bind:1:{path}");
    let open = [
        bind(path("box/new.sock")),
        bind(path("box/sub/new.sock")),
        bind("box/relative.sock".to_owned()),
        bind(path("out/directory/new.sock")),
        bind(path("box/sub/../new.sock")),
        "unix_unnamed:1:".to_owned(),
    ];
    let shut = [
        bind(path("out/new.sock")),
        bind("out/relative.sock".to_owned()),
        bind(path("box/directory/new.sock")),
        bind(path("box/../out/new.sock")),
        bind(format!("/proc/self/root{}", path("out/new.sock"))),
    ];
    let abstract_name = bind(format!("@stockade-bind-{}", std::process::id()));
    let all = [&open[..], &shut, std::slice::from_ref(&abstract_name)].concat();
    let control = outside(&world, &all);
    for item in &all {
        expect_errno(&control, item, &[0]);
    }
    let (read, write) = (
        format!("-R={}", world.project.directory().display()),
        format!("-W={}", path("box")),
    );
    let answers = inside(&world, &[ELSEWHERE, &read, &write], &all);
    for item in &open {
        expect_errno(&answers, item, &[0]);
    }
    for item in shut.iter().chain([&abstract_name]) {
        expect_errno(&answers, item, &[EACCES]);
    }
    assert!(!world.project.has("out/new.sock"));
    let odd = [
        (bind(path("box/file")), EADDRINUSE),
        (bind(path("box/sub/")), EADDRINUSE),
        (bind(path("box/absent/")), ENOENT),
        (bind(path("box/absent/new.sock")), ENOENT),
        (bind(path("box/file/new.sock")), libc::ENOTDIR),
        (bind(path("box/.")), EADDRINUSE),
    ];
    let items: Vec<&str> = odd.iter().map(|(item, _)| item.as_str()).collect();
    let control = outside(&world, &items);
    let answers = inside(&world, &[ELSEWHERE, &read, &write], &items);
    for (item, errno) in &odd {
        expect_errno(&control, item, &[*errno]);
        expect_errno(&answers, item, &[*errno]);
    }
    // A rule for a file that is not there yet, and the denial of one.
    let rule = format!("--allow-net=unix:{}", path("out/new.sock"));
    let answers = inside(&world, &[&rule, &read], &[&shut[0], &shut[1]]);
    // Made through its directory; it may not be removed again without a write grant.
    expect_not_errno(&answers, &shut[0], &[EACCES]);
    expect_errno(&answers, &shut[1], &[EACCES]);
    assert!(world.project.has("out/new.sock"));
    let denial = format!("--deny-net=unix:{}", path("box/new.sock"));
    let answers = inside(
        &world,
        &[ELSEWHERE, &read, &write, &denial],
        &[&open[0], &open[3], &open[1]],
    );
    expect_errno(&answers, &open[0], &[EACCES]);
    expect_errno(&answers, &open[3], &[EACCES]);
    expect_not_errno(&answers, &open[1], &[EACCES]);
}

#[test]
fn a_path_that_changes_while_it_is_bound_leads_nowhere_else() {
    const SCRIPT: &str = "
import os, signal, socket, sys
box, out = sys.argv[1:]
place, real = box + '/place', box + '/real'
child = os.fork()
if child == 0:
    while True:
        os.rename(place, real)
        os.symlink(out, place)
        os.unlink(place)
        os.rename(real, place)
bound = 0
for number in range(3000):
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f'{place}/{number}')
            bound += 1
    except OSError:
        pass
os.kill(child, signal.SIGKILL)
print('bound' if bound else 'none')
";
    let world = World::new().file_tree();
    let path = |name: &str| world.project.path(name);
    let entries = || std::fs::read_dir(path("out")).unwrap().count();
    let run = |confined: bool| {
        let _ = std::fs::remove_dir_all(path("box"));
        std::fs::create_dir_all(path("box/place")).unwrap();
        let (allowed, other) = (path("box"), path("out"));
        let command = [python().to_str().unwrap(), "-c", SCRIPT, &allowed, &other];
        let (read, write) = (
            format!("-R={}", world.project.directory().display()),
            format!("-W={}", path("box")),
        );
        let outcome = if confined {
            world.child(&[ELSEWHERE, &read, &write], &command)
        } else {
            world.outside(&command)
        };
        outcome.expect_success().expect_output("bound\n");
    };
    let before = entries();
    run(true);
    assert_eq!(entries(), before);
    run(false);
    assert!(entries() > before, "the race was never won outside");
}

impl World {
    /// Directories to bind in.
    fn file_tree(self) -> Self {
        for name in ["box/file", "box/sub/file", "out/file"] {
            self.project.write(name, "");
        }
        self
    }
}

#[test]
fn the_runner_listens_and_connects_as_without_walls() {
    const SCRIPT: &str = "
const path = Deno.args[0];
const listener = Deno.listen({ transport: 'unix', path });
console.log(JSON.stringify(listener.addr), (await Deno.lstat(path)).isSocket);
const answer = (async () => {
  const peer = await listener.accept();
  const bytes = new Uint8Array(9);
  const count = await peer.read(bytes);
  peer.close();
  return new TextDecoder().decode(bytes.subarray(0, count));
})();
const peer = await Deno.connect({ transport: 'unix', path });
console.log(JSON.stringify(peer.remoteAddr));
await peer.write(new TextEncoder().encode('hello'));
console.log(await answer);
peer.close();
listener.close();
";
    let world = World::new();
    world.project.write("main.ts", SCRIPT);
    world.project.write("box/file", "");
    let path = world.project.path("box/s.sock");
    let bare = world.project.bare(&["run", "-A", "main.ts", &path]).run();
    bare.expect_success();
    let rule = format!("--allow-net=unix:{path}");
    for flags in [
        vec![&*rule, "-R=box", "-W=box"],
        vec!["-A", "--deny-net=192.0.2.1"],
    ] {
        world
            .stockade(&flags, &["main.ts", &path])
            .run()
            .expect_success()
            .expect_output(&bare.stdout);
    }
    world
        .stockade(&[&*rule, "-R=box"], &["main.ts", &path])
        .run()
        .expect_code(1);
}

#[test]
fn python_talks_to_its_children() {
    const SCRIPT: &str = "
import os, stat
from multiprocessing.connection import Client, Listener
os.umask(0o077)
listener = Listener(family='AF_UNIX')
print(os.path.dirname(os.path.dirname(listener.address)), oct(stat.S_IMODE(os.stat(listener.address).st_mode)))
if os.fork() == 0:
    Client(listener.address).send('hello')
    os._exit(0)
print(listener.accept().recv())
listener.close()
";
    let world = World::new();
    world.project.write("box/file", "");
    let path = world.project.path("box");
    let (read, write) = (format!("-R={path}"), format!("-W={path}"));
    let command = [python().to_str().unwrap(), "-c", SCRIPT];
    let run = |flags: &[&str]| {
        world
            .child_launch(&[flags, &["--allow-env"]].concat(), &command)
            .env("TMPDIR", &path)
            .run()
    };
    run(&[ELSEWHERE, &read, &write])
        .expect_success()
        .expect_output(&format!("{path} 0o700\nhello\n"));
    let denied = run(&[ELSEWHERE, &read]);
    assert_ne!(denied.code, Some(0), "{denied:?}");
}

#[test]
fn a_rule_means_the_file_its_links_led_to() {
    let world = World::new();
    let path = |name: &str| world.project.path(name);
    let (good, evil) = (
        Service::start(&path("out/good.sock")),
        Service::start(&path("out/evil.sock")),
    );
    std::fs::create_dir(path("box")).unwrap();
    symlink(path("out/good.sock"), path("box/link.sock")).unwrap();
    let rule = format!("--allow-net=unix:{}", path("box/link.sock"));
    let (read, write) = (
        format!("-R={}", world.project.directory().display()),
        format!("-W={}", path("box")),
    );
    let item = format!("unix:1:{}", path("box/link.sock"));
    let program = path("attack");
    std::fs::copy(attack(), &program).unwrap();
    let script = format!(
        "{program} {item}; ln -sf {} {}; {program} {item}",
        path("out/evil.sock"),
        path("box/link.sock"),
    );
    let flags = [&*rule, &*read, &*write, "--allow-run"];
    let outcome = world
        .project
        .start(&flags, &["/bin/sh", "-c", &script])
        .run();
    assert_eq!(
        outcome.stdout,
        format!("{item}=0\n{item}={EACCES}\n"),
        "{outcome:?}"
    );
    good.expect(1);
    evil.expect(0);
}

#[test]
fn no_unix_socket_is_made_when_the_network_is_denied() {
    let project = Project::new();
    let service = Service::start(&project.path("s.sock"));
    let program = attack();
    let items = [1, 2, 5].map(|kind| format!("unix:{kind}:{}", project.path("s.sock")));
    let run = |flags: &[&str]| {
        let mut command = vec![program.as_str()];
        command.extend(items.iter().map(String::as_str));
        project.start(flags, &command).run().expect_answers(&items)
    };
    expect_errno(&run(&["-A"]), &items[0], &[0]);
    service.expect(1);
    let answers = run(&["-A", "--deny-net"]);
    for item in &items {
        expect_errno(&answers, item, &[EACCES]);
    }
    service.expect(1);
}

/// The process under test while its program waits for its input to end.
#[test]
fn the_supervisor_stands_behind_walls_of_its_own() {
    let world = World::new();
    let good = Server::counter(free());
    world.project.write(
        "main.ts",
        "const connection = await Deno.connect({ hostname: Deno.args[0], port: +Deno.args[1] });
connection.close();
console.log('ready');
await new Response(Deno.stdin.readable).text();",
    );
    world.project.write("box/file", "");
    let audit = world.project.path("audit.jsonl");
    let launch = world.stockade(
        &[
            &format!("--allow-net={}", good.address()),
            "-W=box",
            &format!("--audit={audit}"),
        ],
        &["main.ts", &good.ip().to_string(), &good.port().to_string()],
    );
    let mut child = launch
        .into_command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = child.stdin.take();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let process = format!("/proc/{}", child.id());
    let seen = look(&process, &audit);
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(line, "ready\n");
    assert_eq!(seen, Vec::<String>::new());
}

/// What is wrong with the supervisor's process.
fn look(process: &str, audit: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for task in std::fs::read_dir(format!("{process}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for expected in [
            "Seccomp:\t2",
            "NoNewPrivs:\t1",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
        ] {
            if !status.lines().any(|line| line == expected) {
                wrong.push(format!("not {expected}: {status}"));
            }
        }
    }
    // The files of a process that cannot be dumped are the superuser's (proc(5)).
    let mode = std::fs::metadata(format!("{process}/mem")).unwrap();
    if !superuser() {
        use std::os::unix::fs::MetadataExt;
        if mode.uid() != 0 {
            wrong.push(format!("{process}/mem is owned by {}", mode.uid()));
        }
        if std::fs::File::open(format!("{process}/mem")).is_ok() {
            wrong.push(format!("{process}/mem can be opened"));
        }
        // Nor may its descriptors be looked at: the superuser's run of this test does.
        return wrong;
    }
    if mode.permissions().mode() & 0o077 != 0 {
        wrong.push(format!("{process}/mem is open to others"));
    }
    for entry in std::fs::read_dir(format!("{process}/fd")).unwrap() {
        let path = entry.unwrap().path();
        let number: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let Ok(target) = std::fs::read_link(&path) else {
            continue;
        };
        let info = std::fs::read_to_string(format!("{process}/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        // Sockets, pipes of its own and handles of the kernel are no files.
        let file = target.is_absolute() && flags & libc::O_PATH == 0;
        if file && flags & libc::O_ACCMODE != 0 && number > 2 && target != Path::new(audit) {
            wrong.push(format!("{} is open for writing", target.display()));
        }
    }
    wrong
}
