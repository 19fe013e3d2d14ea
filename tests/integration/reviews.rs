// SPDX-License-Identifier: MIT
//! Escapes found by hostile reviews, one test each, so that they stay closed.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;

use crate::support::Project;

/// Reads the denied file, then tries to move it to where no denial names it.
const RENAMES: &str = r#"
try { console.log(Deno.readTextFileSync("d/open/secret")); } catch { console.log("unreadable"); }
try { console.log(Deno.readTextFileSync("d/open/moved")); } catch { console.log("not moved"); }
const { code } = new Deno.Command("mv", { args: ["d/open/secret", "d/open/moved"] }).outputSync();
console.log(code === 0 ? "moved" : "held");
"#;

#[test]
fn a_denied_file_cannot_be_renamed_for_the_next_run() {
    let project = Project::new()
        .file("main.ts", RENAMES)
        .file("d/open/secret", "SECRET");
    let grants = ["run", "--allow-read=d", "--allow-write=d", "--allow-run=mv"];
    let mut denied: Vec<&str> = grants.to_vec();
    denied.extend(["--deny-read=d/open/secret", "main.ts"]);
    for _ in 0..2 {
        let outcome = project.stockade(&denied).run();
        assert_eq!(
            outcome.stdout, "unreadable\nnot moved\nheld\n",
            "{}",
            outcome.stderr
        );
    }
    // Without the denial the same program reads and renames it.
    let mut granted: Vec<&str> = grants.to_vec();
    granted.push("main.ts");
    project
        .stockade(&granted)
        .run()
        .expect_output("SECRET\nnot moved\nmoved\n");
}

#[test]
fn a_datagram_socket_is_no_standard_stream() {
    let project = Project::new().file("main.ts", "console.log('ran');");
    let (input, _other) = UnixDatagram::pair().unwrap();
    let mut command = project.stockade(&["run", "main.ts"]).into_command();
    let output = command.stdin(OwnedFd::from(input)).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{message}");
    assert!(
        output.stdout.is_empty() && message.contains("datagram socket"),
        "{message}"
    );
    let (input, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = project.stockade(&["run", "main.ts"]).into_command();
    let output = command.stdin(OwnedFd::from(input)).output().unwrap();
    assert_eq!(output.stdout, b"ran\n");
}

#[test]
fn a_denial_that_leads_elsewhere_prepares_again() {
    let project = Project::new()
        .file(
            "main.ts",
            "import b from './b.json' with { type: 'json' }; console.log(b);",
        )
        .file("b.json", "\"secret\"")
        .file("other.json", "1");
    symlink("other.json", project.path("link")).unwrap();
    let words = ["run", "--deny-read=link", "main.ts"];
    // A stamp is followed only for files that were not touched just before it was written.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    for _ in 0..2 {
        project.stockade(&words).run().expect_output("secret\n");
    }
    std::fs::remove_file(project.path("link")).unwrap();
    symlink("b.json", project.path("link")).unwrap();
    project
        .stockade(&words)
        .run()
        .expect_refused()
        .expect_error("denied");
}

#[test]
fn a_linked_workspace_member_opens_nothing_outside() {
    let outside = Project::new().file("package.json", "{\"name\":\"private\"}");
    let project = Project::new()
        .file("deno.json", "{\"workspace\":[\"./sub\"]}")
        .file("main.ts", "console.log('ran');");
    symlink(outside.directory(), project.path("sub")).unwrap();
    project
        .stockade(&["run", "main.ts"])
        .run()
        .expect_refused()
        .expect_error("package.json");
    std::fs::remove_file(project.path("sub")).unwrap();
    project.write("sub/package.json", "{\"name\":\"own\"}");
    project
        .stockade(&["run", "main.ts"])
        .run()
        .expect_output("ran\n");
}
