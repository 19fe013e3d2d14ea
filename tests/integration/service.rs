// SPDX-License-Identifier: MIT
//! Runs as services: another user, descriptors handed over, READY=1, the journal, SIGTERM, the
//! examples of units.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::machine::superuser;
use crate::support::{Launch, Project, python};
use crate::support_life::{project, skip, source, start, stockade_path};

/// Opens descriptors in a python of the test's, and becomes the command: the last arguments.
fn handed(project: &Project, prepare: &str, command: &[&str]) -> Launch {
    let script = format!(
        "import os, socket, sys
{prepare}
os.execv(sys.argv[1], sys.argv[1:])"
    );
    let mut all = vec!["-c", script.as_str(), stockade_path()];
    all.extend(command);
    project.launch(python(), &all)
}

/// Descriptors 3 and 4 are open for reading a file.
const TWO_FILES: &str = "
for number in (3, 4):
    opened = os.open('secret', os.O_RDONLY)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)
";

#[test]
fn descriptors_are_closed_unless_they_are_kept() {
    let project = Project::new()
        .file("secret", "handed over\n")
        .file("elsewhere/x", "");
    let shell = |flags: &[&str], number: &str| {
        let script = format!("cat <&{number}");
        let mut words = vec!["exec", "--deny-read=secret"];
        words.extend(flags);
        words.extend(["--", "sh", "-c", &script]);
        handed(&project, TWO_FILES, &words).run()
    };
    for (flags, number) in [
        (&[][..], "3"),
        (&["--keep-fd=4"], "3"),
        (&["--keep-fd=3"], "4"),
    ] {
        let outcome = shell(flags, number);
        assert_ne!(outcome.code, Some(0), "{outcome:?}");
        outcome.expect_nowhere("handed over");
    }
    shell(&["--keep-fd=3"], "3").expect_output("handed over\n");
    shell(&["--keep-fd=4", "--keep-fd=3"], "4").expect_output("handed over\n");
    // And nothing of Stockade's own is among them.
    let words = ["exec", "--keep-fd=4", "--", "sh", "-c", "ls /proc/self/fd"];
    let outcome = handed(&project, TWO_FILES, &words).run();
    // 3 is the directory that `ls` itself has open.
    outcome.expect_output("0\n1\n2\n3\n4\n");
}

#[test]
fn a_descriptor_that_is_not_open_is_an_error() {
    let project = Project::new();
    for words in [
        &["exec", "--keep-fd=77", "--", "true"][..],
        &["explain", "exec", "--keep-fd=77", "--", "true"],
    ] {
        let outcome = project.stockade(words).run();
        outcome
            .expect_refused()
            .expect_error("error: `--keep-fd=77` is not open")
            .expect_error("hint: ");
    }
    project
        .stockade(&["exec", "--keep-fd=2", "--", "true"])
        .run()
        .expect_refused();
}

#[test]
fn a_datagram_socket_is_not_kept_without_the_bare_grant() {
    let project = Project::new();
    let prepare = "
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
os.dup2(made.fileno(), 9)
os.set_inheritable(9, True)
";
    let words = |flag| vec!["exec", flag, "--keep-fd=9", "--", "true"];
    handed(&project, prepare, &words("--quiet-denials"))
        .run()
        .expect_refused()
        .expect_error("descriptor 9 is a datagram socket");
    handed(&project, prepare, &words("-A"))
        .run()
        .expect_output("");
}

/// A listener as descriptor 3, announced as systemd does.
const ACTIVATED: &str = "
listener = socket.create_server(('127.0.0.1', 0))
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='web')
print(listener.getsockname()[1], flush=True)
";

/// Serves one connection on the listener it is handed, as sd_listen_fds(3) asks for it.
const SERVES: &str = "
import os, socket
names = ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES']
told = {name: os.environ.get(name) for name in names}
ours = told['LISTEN_PID'] == str(os.getpid())
print(told['LISTEN_FDS'], ours, told['LISTEN_FDNAMES'], flush=True)
connection, _ = socket.socket(fileno=3).accept()
connection.sendall(b'served\\n')
connection.close()
for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    try:
        socket.socket(family).connect((address, 9))
    except OSError as error:
        print(error.errno, flush=True)
";

#[test]
fn a_kept_listener_serves_without_any_network_rule() {
    let project = Project::new().file("server.py", SERVES);
    for flags in [
        &["exec", "--keep-fd=3"][..],
        // With a supervisor, and with a waiter, the process is another one.
        &["exec", "--keep-fd=3", "--allow-net=a.test"],
        &["exec", "--keep-fd=3", "--timeout=60s", "--deny-write=."],
    ] {
        let mut words = flags.to_vec();
        words.extend(["--", python().to_str().unwrap(), "server.py"]);
        let mut run = start(handed(&project, ACTIVATED, &words));
        let port = u16::try_from(run.number()).unwrap();
        assert_eq!(run.line(), "1 True web", "{flags:?}");
        let mut text = String::new();
        TcpStream::connect(("127.0.0.1", port))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "served\n");
        let (status, rest) = run.finish();
        assert!(status.success(), "{flags:?} {rest}");
        let denied = format!("{}\n", libc::EACCES);
        assert_eq!(rest.matches(denied.as_str()).count(), 2, "{flags:?} {rest}");
    }
    // Not kept: neither the listener nor its variables are there.
    let words = ["exec", "--", python().to_str().unwrap(), "server.py"];
    let mut run = start(handed(&project, ACTIVATED, &words));
    run.number();
    assert_eq!(run.line(), "None False None");
    assert!(!run.finish().0.success());
}

/// Serves until it is ended.
const SERVER: &str = "export default { fetch: () => new Response('hello') };";

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn get(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn readiness_is_told_at_the_first_listener_and_sigterm_ends_the_server() {
    let project = project(SERVER);
    let place = project.directory().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let port = free_port();
    let words = [
        "serve".to_owned(),
        "--host=127.0.0.1".to_owned(),
        format!("--port={port}"),
        "main.ts".to_owned(),
    ];
    let launch = project.stockade(&words).env("NOTIFY_SOCKET", &place);
    let run = start(launch);
    let mut message = [0; 64];
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");
    // Listening then, and not a moment later.
    assert!(get(port).ends_with("hello"));
    run.signal(Signal::SIGTERM);
    let (status, _) = run.finish();
    // As without Stockade: what Deno does at SIGTERM is its own.
    let words = [
        "serve".to_owned(),
        "--host=127.0.0.1".to_owned(),
        format!("--port={port}"),
        project.path("main.ts"),
    ];
    let bare = start(project.bare(&words));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // An answer: it listens for the signal by then, too.
    assert!(get(port).ends_with("hello"));
    bare.signal(Signal::SIGTERM);
    let (expected, _) = bare.finish();
    assert_eq!(
        (status.code(), status.signal()),
        (expected.code(), expected.signal())
    );
    TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens any more");
}

#[test]
fn readiness_that_nobody_can_tell_is_said() {
    let project = project("console.log(Deno.env.get('NOTIFY_SOCKET') ?? 'not told')");
    let place = project.directory().join("notify");
    let _manager = UnixDatagram::bind(&place).unwrap();
    let run = |flags: &[&str]| {
        let mut words = vec![
            "run",
            "--allow-env=UNRELATED,NOTIFY_SOCKET",
            "--deny-env=NOTIFY_SOCKET",
        ];
        words.retain(|word| !word.starts_with("--deny"));
        words.extend(flags);
        words.push("main.ts");
        project.stockade(&words).env("NOTIFY_SOCKET", &place).run()
    };
    let shown = format!("{}\n", place.display());
    run(&[])
        .expect_output(&shown)
        .expect_error("warning: `NOTIFY_SOCKET` is set, and nobody will tell READY=1");
    let quiet = run(&["--allow-net=a.test"]);
    assert!(!quiet.stderr.contains("READY"), "{quiet:?}");
}

#[test]
fn lines_for_the_journal_have_levels() {
    let project = project("");
    let log = project.directory().join("log");
    let run = |stream: &str| {
        let file = std::fs::File::create(&log).unwrap();
        let stream = match stream {
            "own" => {
                let found = file.metadata().unwrap();
                format!("{}:{}", found.dev(), found.ino())
            }
            other => other.to_owned(),
        };
        let mut command = project
            .stockade(&["run", "missing.ts"])
            .env("JOURNAL_STREAM", stream)
            .into_command();
        command.stderr(file).stdout(std::process::Stdio::null());
        assert!(!command.status().unwrap().success());
        std::fs::read_to_string(&log).unwrap()
    };
    let told = run("own");
    assert!(told.starts_with("<3>error: "), "{told}");
    assert!(told.lines().all(|line| line.starts_with('<')), "{told}");
    let told = run("1:2");
    assert!(told.starts_with("error: "), "{told}");
}

#[test]
fn root_becomes_another_user_before_anything_is_opened() {
    if !superuser() {
        let refused = Project::new()
            .stockade(&["exec", "--uid=0", "--gid=0", "--", "true"])
            .run();
        refused
            .expect_refused()
            .expect_error("error: cannot become user 0 and group 0")
            .expect_error("hint: only root");
        return;
    }
    let project = Project::new()
        .file("private", "root's\n")
        .file("open", "everybody's\n");
    std::fs::set_permissions(project.directory(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(project.path("private"), PermissionsExt::from_mode(0o600)).unwrap();
    let shell = |flags: &[&str], script: &str| {
        let mut words = vec!["exec"];
        words.extend(flags);
        words.extend(["--", "sh", "-c", script]);
        project.stockade(&words).env("TMPDIR", "/tmp").run()
    };
    let other = ["--uid=65534", "--gid=65533"];
    let who = "grep -E '^(Uid|Gid|Groups):' /proc/self/status";
    // Through a waiter and supervisor, too: they have the same rights, or nothing is started.
    for flags in [
        &other[..],
        &["--uid=65534", "--gid=65533", "--allow-net=a.test"],
    ] {
        let outcome = shell(flags, who);
        let told: Vec<Vec<&str>> = outcome
            .stdout
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            told[0],
            ["Uid:", "65534", "65534", "65534", "65534"],
            "{outcome:?}"
        );
        assert_eq!(told[1], ["Gid:", "65533", "65533", "65533", "65533"]);
        assert_eq!(told[2], ["Groups:"]);
    }
    // The supervisor has become it as well.
    let outcome = shell(
        &["--uid=65534", "--gid=65533", "--allow-net=a.test"],
        "grep -E '^(Uid|Groups):' /proc/$PPID/status",
    );
    assert!(
        outcome
            .stdout
            .starts_with("Uid:\t65534\t65534\t65534\t65534"),
        "{outcome:?}"
    );
    let denied = shell(&other, "cat private");
    assert_ne!(denied.code, Some(0));
    denied.expect_nowhere("root's");
    shell(&other, "cat open").expect_output("everybody's\n");
    shell(&[], "cat private").expect_output("root's\n");
    // By name, with the group that goes with it.
    let named = shell(&["--uid=root"], who);
    assert!(named.stdout.contains("Uid:\t0\t0\t0\t0"), "{named:?}");
    for flags in [&["--uid=nobody-has-this-name"][..], &["--uid=4000000000"]] {
        shell(flags, "true")
            .expect_refused()
            .expect_error("hint: give");
    }
}

#[test]
fn the_example_units_are_valid() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output() else {
        skip("systemd-analyze is not installed");
        return;
    };
    assert!(found.status.success());
    let project = Project::new();
    let mut units = Vec::new();
    for entry in std::fs::read_dir(source().join("examples/systemd")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        project.write(
            &name,
            &text.replace("/usr/local/bin/stockade", stockade_path()),
        );
        units.push(project.path(&name));
        // The flags in it are real ones.
        for line in text
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStart="))
        {
            let words: Vec<&str> = line
                .split_whitespace()
                .skip(1)
                .filter(|word| *word != "\\")
                .collect();
            let mode = words[0];
            let flags = words
                .iter()
                .filter(|word| word.starts_with("--") && **word != "--");
            let help = project.stockade(&[mode, "--help"]).run();
            for flag in flags {
                let name = flag.split('=').next().unwrap();
                assert!(help.stdout.contains(name), "{flag} is no flag of {mode}");
            }
        }
    }
    assert!(units.len() >= 3);
    let verify = |units: &[String]| {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .args(units)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // Other units of this machine are not ours.
        let ours: Vec<&str> = told
            .lines()
            .filter(|line| line.contains("hello-"))
            .collect();
        ours.join("\n")
    };
    assert_eq!(verify(&units), "");
    // What is wrong is told by it.
    project.write(
        "hello-wrong.service",
        "[Service]\nExecStart=/nonexistent\nNoSuchKey=1\n",
    );
    assert_ne!(verify(&[project.path("hello-wrong.service")]), "");
}
