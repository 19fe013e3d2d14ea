// SPDX-License-Identifier: MIT
//! The supervisor keeps nothing of what it served, and when it is killed nobody inside has a network.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use libc::{EACCES, ENOSYS, EPERM};
use nix::sys::signal::Signal;

use crate::egress::races::race_program;
use crate::egress::servers::Server;
use crate::egress::world::{World, address, free};
use crate::machine::{injected, superuser};
use crate::support::{Launch, Outcome, probes, python};
use crate::support_life::{assert_ends, exists, start};
use crate::victim::Victim;

/// Starts a program with the caller's streams.
const THROUGH: &str = "const [program, ...args] = Deno.args;
const child = new Deno.Command(program, { args, stdin: 'inherit', stdout: 'inherit' }).spawn();
Deno.exit((await child.status).code);";

/// What the supervisor holds after so many connections, while the program still runs.
struct Held {
    descriptors: Option<usize>,
    /// Resident memory in KiB.
    memory: usize,
}

fn held_after(world: &World, launch: Launch, count: usize) -> Held {
    let mut child = launch
        .into_command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let input: ChildStdin = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    for _ in 0..3 {
        output.read_line(&mut lines).unwrap();
    }
    let refused = count / 4;
    let expected = format!("done {}\nrefused {refused}\nother 0\n", count - refused);
    if lines != expected {
        let _ = child.kill();
        panic!("{lines} instead of {expected}");
    }
    let held = look(&child);
    drop(input);
    output.read_to_string(&mut lines).unwrap();
    assert!(child.wait().unwrap().success(), "{:?}", world.project);
    held
}

fn look(child: &Child) -> Held {
    let process = format!("/proc/{}", child.id());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    Held {
        // Only the superuser may look into a process that cannot be dumped.
        descriptors: superuser()
            .then(|| std::fs::read_dir(format!("{process}/fd")).unwrap().count()),
        memory,
    }
}

#[test]
fn descriptors_and_memory_come_back_after_many_connections() {
    let long = std::env::var_os("STOCKADE_TEST_LONG").is_some_and(|value| value == "1");
    let count = if long { 100_000 } else { 2000 };
    let world = World::new();
    world.project.write("through.ts", THROUGH);
    let good = Server::counter(free());
    let evil = Server::counter((address(), good.port()).into());
    let program = race_program();
    let launch = |count: usize| {
        let net = format!("--allow-net={}", good.address());
        let run = format!("--allow-run={program}");
        let (ip, evil_ip, port) = (
            good.ip().to_string(),
            evil.ip().to_string(),
            good.port().to_string(),
        );
        world
            .stockade(
                &[&net, &run, "--quiet-denials"],
                &[
                    "through.ts",
                    &program,
                    "many",
                    &count.to_string(),
                    &ip,
                    &port,
                    &evil_ip,
                    &port,
                ],
            )
            // A leak would meet this limit before it was noticed otherwise.
            .through_shell("ulimit -n 200; exec \"$@\"")
    };
    let few = held_after(&world, launch(8), 8);
    let many = held_after(&world, launch(count), count);
    if let (Some(few), Some(many)) = (few.descriptors, many.descriptors) {
        // Sockets made for the program are looked through when there are 64 of them.
        let slack = if injected() { 64 } else { 4 };
        assert!(many <= few + slack, "{few} descriptors, then {many}");
    }
    assert!(
        many.memory <= few.memory + 8192,
        "{} KiB, then {}",
        few.memory,
        many.memory
    );
    assert_eq!(evil.hits(), 0);
    assert_eq!(good.hits(), 6 + count - count / 4);
}

#[test]
fn nobody_has_a_network_after_the_supervisor_was_killed() {
    let world = World::new();
    let good = Server::counter(free());
    world.name("good.test", good.ip());
    // A process of its own session that outlives everything above it.
    let code = r#"
import os, socket, sys, time
def attempt():
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).close()
        return "reached"
    except OSError as error:
        return f"errno {error.errno}"
def name():
    try:
        return "found " + socket.gethostbyname("good.test")
    except OSError as error:
        return "unknown"
print(attempt(), flush=True)
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
    while not os.path.exists("gone"):
        time.sleep(0.01)
    with open("result.new", "w") as file:
        print(attempt(), name(), file=file)
    os.rename("result.new", "result")
    os._exit(0)
# Not longer than the test: nobody ends this one when the supervisor is gone.
while not os.path.exists("result"):
    # Fails when the test has removed the directory.
    os.getcwd()
    time.sleep(0.05)
"#;
    world.project.write("through.ts", THROUGH);
    let python = python().to_str().unwrap();
    let (ip, port) = (good.ip().to_string(), good.port().to_string());
    let outside = world.project.launch(
        Path::new(python),
        &[
            "-c",
            "import sys, socket; socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()",
            &ip,
            &port,
        ],
    );
    outside.run().expect_success();
    let grant = format!("--allow-net={},good.test", good.address());
    let run = format!("--allow-run={python}");
    let mut running = start(world.stockade(
        &[&grant, &run, "--allow-read=.", "--allow-write=."],
        &["through.ts", python, "-c", code, &ip, &port],
    ));
    assert_eq!(running.line(), "reached");
    let survivor = running.number();
    let before = good.hits();
    let launcher = running.pid();
    running.signal(Signal::SIGKILL);
    assert_ends(launcher, "the launcher");
    world.project.write("gone", "");
    let deadline = Instant::now() + Duration::from_secs(60);
    let result = world.project.path("result");
    // It is ended with the run, or is left without a network.
    while !exists(&result) && crate::support_life::is_running(survivor) {
        assert!(Instant::now() < deadline, "it hangs");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(good.hits(), before);
    if exists(&result) {
        let result = world.project.read("result");
        assert!(
            !result.contains("reached") && !result.contains("found"),
            "{result}"
        );
    }
    assert_ends(survivor, "the survivor");
    drop(running);
}

/// Ways to change another process of `probe.c`, by its number.
const REACHES: [&str; 18] = [
    "kill",
    "tgkill",
    "tkill",
    "sigqueue",
    "pidfd_signal",
    "pidfd_getfd",
    "ptrace",
    "vm_readv",
    "vm_writev",
    "kcmp",
    "setpriority",
    "prlimit",
    "setaffinity",
    "setscheduler",
    "setattr",
    "ioprio",
    "move_pages",
    "sigio",
];

/// Tries everything on a process: its argument, or its launcher when that is 0. Arguments: PROBE PID
/// ADDRESS PORT PROBES…
const ATTACKER: &str = r#"
import os, socket, subprocess, sys
probe, victim, ip, port, *names = sys.argv[1:]
victim = int(victim)
if not victim:
    with open(f"/proc/{os.getppid()}/stat") as stat: victim = int(stat.read().rsplit(")", 1)[1].split()[1])
    with open(f"/proc/{victim}/comm") as comm: print(comm.read().strip(), flush=True)
for name in ("mem", "oom_score_adj", "comm", "coredump_filter", "clear_refs", "sched", "attr/exec", "loginuid"):
    try:
        os.close(os.open(f"/proc/{victim}/{name}", os.O_RDWR if name == "mem" else os.O_WRONLY))
        print("write", name, 0)
    except OSError as error: print("write", name, error.errno)
for name in ("mem", "environ", "maps", "fd/0", "root", "cwd", "exe"):
    path = f"/proc/{victim}/{name}"
    try:
        os.readlink(path) if name in ("fd/0", "root", "cwd", "exe") else open(path, "rb").read(0)
        print("read", name, 0)
    except OSError as error: print("read", name, error.errno)
sys.stdout.flush()
for name in names:
    subprocess.run([probe, f"{name}:{victim}:"])
try:
    socket.create_connection((ip, int(port)), 20).close()
    print("reached")
except OSError as error: print(error)
"#;

#[test]
fn nothing_of_the_supervisor_can_be_changed_from_inside() {
    let world = World::new();
    let good = Server::counter(free());
    let program = probes().program.to_str().unwrap().to_owned();
    let (ip, port) = (good.ip().to_string(), good.port().to_string());
    let mut victim = Victim::start("victim-secret");
    let command = |victim: &str| {
        let start = [
            python().to_str().unwrap(),
            "-c",
            ATTACKER,
            &program,
            victim,
            &ip,
            &port,
        ];
        let words = start.into_iter().chain(REACHES);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    // What was tried, and whether a rule refused it; a bad address or number is the kernel's own.
    let lines = |outcome: &Outcome| -> Vec<(String, bool)> {
        outcome.expect_success();
        let parse = |line: &str| {
            let (what, answer) = line.rsplit_once([' ', '=']).unwrap_or((line, ""));
            let name = what.split(':').next().unwrap().to_owned();
            let refused = [EPERM, EACCES, ENOSYS].map(|errno| errno.to_string());
            (name, refused.iter().any(|errno| errno == answer))
        };
        outcome.stdout.lines().map(parse).collect()
    };
    let grant = format!("--allow-net={}", good.address());
    let runs = [
        vec![
            grant.as_str(),
            "--allow-read",
            "--allow-write",
            "--allow-sys",
        ],
        vec!["-A", "--deny-net=192.0.2.1"],
    ];
    let mut reached = 0;
    for flags in runs {
        let words = command("0");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let outcome = if flags[0] == "-A" {
            world.project.write("through.ts", THROUGH);
            world
                .stockade(&flags, &[&["through.ts"], &words[..]].concat())
                .run()
        } else {
            let run = format!("--allow-run={program}");
            world.child(&[&flags[..], &[&run]].concat(), &words)
        };
        assert!(outcome.stdout.starts_with("stockade\n"), "{outcome:?}");
        assert!(outcome.stdout.ends_with("reached\n"), "{outcome:?}");
        let answers = lines(&outcome);
        assert_eq!(answers.len(), 2 + 8 + 7 + REACHES.len(), "{outcome:?}");
        for (name, refused) in &answers {
            // Setting an owner of signals is no signal; that none arrives is what counts.
            let said = ["sigio", "stockade", "reached"].contains(&name.as_str());
            // Children read /proc, where the numbers of descriptors are their owner's to list.
            let listed = superuser() && name == "read fd";
            assert!(*refused || said || listed, "{name}: {outcome:?}");
        }
        reached += 1;
        assert_eq!(good.hits(), reached);
    }
    // The control: an ordinary process of the same user, and the same program outside.
    assert!(victim.alive());
    let words = command(&victim.pid().to_string());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = world.outside(&words);
    for (name, refused) in &lines(&outcome) {
        if superuser() && !KERNEL_SAYS.contains(&name.as_str()) {
            assert!(!refused, "{name}: {outcome:?}");
        }
    }
}

/// What kernels refuse outside as well, each for a reason of its own.
const KERNEL_SAYS: [&str; 2] = ["write loginuid", "write attr/exec"];

#[test]
fn a_stopped_supervisor_is_waited_for() {
    let world = World::new();
    let good = Server::counter(free());
    let script = "
        const [hostname, port] = Deno.args;
        const go = Deno.stdin.readable.getReader();
        const reach = async () => (await Deno.connect({ hostname, port: Number(port) })).close();
        await reach();
        console.log('first');
        let reached = false;
        // A thread hangs in its call; the loop is this thread, so what follows comes after it.
        await new Promise((resolve) => setTimeout(resolve, 200));
        await reach();
        reached = true;
        console.log('second', reached);
        go.cancel();
    ";
    world.project.write("main.ts", script);
    let grant = format!("--allow-net={}", good.address());
    let (ip, port) = (good.ip().to_string(), good.port().to_string());
    let mut running = start(world.stockade(&[&grant], &["main.ts", &ip, &port]));
    assert_eq!(running.line(), "first");
    running.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(crate::support_life::state(running.pid()), Some('T'));
    assert_eq!(good.hits(), 1);
    running.signal(Signal::SIGCONT);
    assert_eq!(running.line(), "second true");
    let (status, _) = running.finish();
    assert!(status.success(), "{status}");
    assert_eq!(good.hits(), 2);
}

#[test]
fn a_killed_supervisor_is_told_of_and_an_ended_one_is_not() {
    let world = World::new();
    let good = Server::counter(free());
    world.project.write(
        "main.ts",
        "console.log('started'); if (Deno.args[0] === 'stay') await new Promise((resolve) => setTimeout(resolve, 600_000));",
    );
    let grant = format!("--allow-net={}", good.address());
    let said = |word: &str| {
        let printed = world.project.directory().join(word);
        let file = std::fs::File::create(&printed).unwrap();
        let mut command = world.stockade(&[&grant], &["main.ts", word]).into_command();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let text = || std::fs::read_to_string(&printed).unwrap();
        while !text().contains("started") {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        if word == "stay" {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        while word == "stay" && !text().contains("killed") && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        text()
    };
    let lost = "error: Stockade was killed, so the run was ended\n";
    assert_eq!(said("stay"), format!("started\n{lost}"));
    assert_eq!(said("leave"), "started\n");
}

#[test]
fn a_killed_supervisor_takes_its_target_along() {
    let world = World::new();
    let good = Server::counter(free());
    let script = "
        const [hostname, port] = Deno.args;
        (await Deno.connect({ hostname, port: Number(port) })).close();
        console.log(Deno.pid);
        await new Promise((resolve) => setTimeout(resolve, 600_000));
    ";
    world.project.write("main.ts", script);
    let grant = format!("--allow-net={}", good.address());
    let (ip, port) = (good.ip().to_string(), good.port().to_string());
    let mut running = start(world.stockade(&[&grant], &["main.ts", &ip, &port]));
    let target = running.number();
    assert!(crate::support_life::is_running(target));
    running.signal(Signal::SIGKILL);
    assert_ends(target, "the target");
    let (status, _) = running.finish();
    // The supervisor is the launcher: a shell says 137.
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGKILL)
    );
}
