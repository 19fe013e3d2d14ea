// SPDX-License-Identifier: MIT
//! A run on a terminal: Ctrl-C, Ctrl-Z and `fg`, window size, raw mode, `prompt()`, colours.
//!
//! A python3 helper owns the other side of the pseudo-terminal and plays a list of steps.

use crate::support::{Project, runner};
use crate::support_life::{project, stockade_path, through_python};

/// Plays `[["expect", TEXT], ["send", TEXT], ["size", ROWS, COLUMNS]]` on a new terminal in front
/// of a command, then prints how the command ended.
const PLAYER: &str = r#"
import fcntl, json, os, pty, select, signal, struct, sys, termios, time
steps, argv = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    # The first step may be the size the program finds at its start.
    sys.stdin.readline()
    os.execvp(argv[0], argv)
seen, unread = "", ""
def fail(what):
    os.kill(pid, signal.SIGKILL)
    sys.exit(f"{what}; on the terminal:\n{seen}")
def read(wait):
    global seen, unread
    if not select.select([terminal], [], [], wait)[0]:
        return True
    try:
        data = os.read(terminal, 65536)
    except OSError:
        return False
    seen += data.decode(errors="replace")
    unread += data.decode(errors="replace")
    return bool(data)
def resize(rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
if steps and steps[0][0] == "size":
    resize(*steps.pop(0)[1:])
os.write(terminal, b"\n")
for kind, *values in steps:
    if kind == "expect":
        deadline = time.monotonic() + 60
        while values[0] not in unread:
            if time.monotonic() > deadline or not read(1):
                fail(f"expected {values[0]!r}")
        unread = unread.split(values[0], 1)[1]
    elif kind == "send":
        os.write(terminal, values[0].encode())
    elif kind == "size":
        resize(*values)
deadline = time.monotonic() + 60
while read(0.05):
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        while select.select([terminal], [], [], 0)[0] and read(0):
            pass
        break
    if time.monotonic() > deadline:
        fail("it does not end")
else:
    done, status = os.waitpid(pid, 0)
print(seen.replace("\r\n", "\n").removeprefix("\n"), end="")
if os.WIFSIGNALED(status):
    print(f"[signal {os.WTERMSIG(status)}]")
else:
    print(f"[exit {os.WEXITSTATUS(status)}]")
"#;

/// Flags for the two ways a run can live.
const BOTH: [&[&str]; 2] = [&[], &["--timeout=600s"]];

fn play(project: &Project, steps: &serde_json::Value, command: &[&str]) -> String {
    let steps = steps.to_string();
    let mut all = vec![steps.as_str()];
    all.extend(command);
    let outcome = through_python(project, PLAYER, &all)
        .without_env("NO_COLOR")
        .env("TERM", "xterm")
        .env("PS1", "shell> ")
        .run();
    outcome.expect_success();
    outcome.stdout
}

fn stockade<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![stockade_path(), "run"];
    words.extend(flags);
    words.push("main.ts");
    words
}

#[test]
fn ctrl_c_ends_the_program() {
    let project = project("console.log('ready'); setInterval(() => {}, 1000);");
    let steps = serde_json::json!([["expect", "ready"], ["send", "\u{3}"]]);
    for flags in BOTH {
        let seen = play(&project, &steps, &stockade(flags));
        assert!(seen.ends_with("[signal 2]\n"), "{flags:?}: {seen}");
    }
}

#[test]
fn counted_output_is_no_terminal() {
    let project = project("");
    let script = "test -t 0 && echo in; test -t 1 && echo out; test -t 2 && echo error >&2; echo ready; \
                  exec sleep 600";
    let steps = serde_json::json!([["expect", "ready"], ["send", "\u{3}"]]);
    let seen = |flags: &[&str]| {
        let mut words = vec![stockade_path(), "exec"];
        words.extend(flags);
        words.extend(["--", "sh", "-c", script]);
        play(&project, &steps, &words)
    };
    let end = "ready\n^C[signal 2]\n";
    assert_eq!(seen(&[]), format!("in\nout\nerror\n{end}"));
    assert_eq!(seen(&["--output-size=1m"]), format!("in\n{end}"));
}

#[test]
fn ctrl_c_reaches_a_listener_once() {
    let project = project(
        "let times = 0;
         Deno.addSignalListener('SIGINT', () => {
           if (++times === 1) setTimeout(() => { console.log(`times ${times}`); Deno.exit(8); }, 500);
         });
         console.log('ready');
         setInterval(() => {}, 1000);",
    );
    let steps = serde_json::json!([["expect", "ready"], ["send", "\u{3}"], ["expect", "times "]]);
    for flags in BOTH {
        let seen = play(&project, &steps, &stockade(flags));
        assert!(seen.contains("times 1\n"), "{flags:?}: {seen}");
        assert!(seen.ends_with("[exit 8]\n"), "{flags:?}: {seen}");
    }
}

#[test]
fn ctrl_z_stops_and_fg_continues() {
    let project = project(
        "console.log('ready');
         const decoder = new TextDecoder();
         for await (const chunk of Deno.stdin.readable) {
           console.log(`got ${decoder.decode(chunk).trim()}`);
           Deno.exit(0);
         }",
    );
    for flags in BOTH {
        let line = format!("{}\n", stockade(flags).join(" "));
        let steps = serde_json::json!([
            ["expect", "shell> "],
            ["send", line],
            ["expect", "ready"],
            ["send", "\u{1a}"],
            ["expect", "Stopped"],
            ["expect", "shell> "],
            ["send", "jobs -p; echo jobs done\n"],
            ["expect", "jobs done\r\n"],
            ["expect", "shell> "],
            ["send", "fg\n"],
            ["expect", "main.ts"],
            ["send", "hello\n"],
            ["expect", "got hello"],
            ["expect", "shell> "],
            ["send", "echo code $?\n"],
            ["expect", "code 0"],
            ["send", "exit 0\n"],
        ]);
        let bash = ["bash", "--norc", "--noprofile", "--noediting", "-i"];
        let seen = play(&project, &steps, &bash);
        assert!(seen.ends_with("[exit 0]\n"), "{flags:?}: {seen}");
    }
}

#[test]
fn a_shell_sees_the_signal_and_stops_its_loop() {
    // A shell ends `for` at Ctrl-C only when it sees that the program died of it.
    let project = project("console.log('ready'); setInterval(() => {}, 1000);");
    for flags in BOTH {
        let line = format!(
            "for i in 1 2; do {}; done; echo after\n",
            stockade(flags).join(" ")
        );
        let steps = serde_json::json!([["expect", "ready"], ["send", "\u{3}"]]);
        let seen = play(&project, &steps, &["bash", "-c", &line]);
        assert!(seen.ends_with("[signal 2]\n"), "{flags:?}: {seen}");
        assert!(!seen.contains("after"), "{flags:?}: {seen}");
    }
}

#[test]
fn window_size_is_seen_and_changes_are_announced() {
    let project = project(
        "const size = () => { const { rows, columns } = Deno.consoleSize(); return `${rows}x${columns}`; };
         console.log(`at first ${size()}`);
         Deno.addSignalListener('SIGWINCH', () => { console.log(`now ${size()}`); Deno.exit(0); });
         setInterval(() => {}, 1000);
         console.log('listening');",
    );
    let steps = serde_json::json!([
        ["size", 33, 77],
        ["expect", "at first 33x77"],
        ["expect", "listening"],
        ["size", 44, 99],
        ["expect", "now 44x99"],
    ]);
    for flags in BOTH {
        let seen = play(&project, &steps, &stockade(flags));
        assert!(seen.ends_with("[exit 0]\n"), "{flags:?}: {seen}");
    }
}

#[test]
fn raw_mode_reads_single_keys() {
    let project = project(
        "Deno.stdin.setRaw(true);
         console.log('raw');
         const key = new Uint8Array(1);
         Deno.stdin.readSync(key);
         Deno.stdin.setRaw(false);
         console.log(`key ${key[0]}`);",
    );
    // Ctrl-C is a key like any other in raw mode.
    let steps = serde_json::json!([["expect", "raw"], ["send", "\u{3}"], ["expect", "key 3"]]);
    for flags in BOTH {
        let seen = play(&project, &steps, &stockade(flags));
        assert!(seen.ends_with("[exit 0]\n"), "{flags:?}: {seen}");
    }
}

#[test]
fn prompt_asks_and_permissions_do_not() {
    let project = project(
        "console.log(`hello ${prompt('name?')}`);
         try { Deno.readTextFileSync('/etc/hostname'); } catch (error) { console.log((error as Error).name); }",
    );
    let steps = serde_json::json!([
        ["expect", "name?"],
        ["send", "Ada\n"],
        ["expect", "hello Ada"],
        ["expect", "NotCapable"],
    ]);
    for flags in BOTH {
        let seen = play(&project, &steps, &stockade(flags));
        assert!(seen.ends_with("[exit 0]\n"), "{flags:?}: {seen}");
        assert!(!seen.contains("Allow?"), "{flags:?}: {seen}");
    }
    // Outside, Deno would ask.
    let asked = serde_json::json!([
        ["expect", "name?"],
        ["send", "Ada\n"],
        ["expect", "Allow?"],
        ["send", "\u{3}"],
    ]);
    let bare = runner().to_str().unwrap();
    let seen = play(&project, &asked, &[bare, "run", "main.ts"]);
    assert!(seen.contains("Allow?"), "{seen}");
}

#[test]
fn colours_appear_on_a_terminal_and_nowhere_else() {
    let project = project("console.log({ colour: 1 })");
    let bare = runner().to_str().unwrap();
    let on_terminal = play(&project, &serde_json::json!([]), &[bare, "run", "main.ts"]);
    assert!(on_terminal.contains("\u{1b}["), "{on_terminal}");
    for flags in BOTH {
        let seen = play(&project, &serde_json::json!([]), &stockade(flags));
        assert_eq!(seen, on_terminal, "{flags:?}");
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("main.ts");
        project
            .stockade(&words)
            .without_env("NO_COLOR")
            .run()
            .expect_output("{ colour: 1 }\n");
    }
}

#[test]
fn the_program_stays_in_the_callers_group_and_session() {
    let project = project(
        "const stat = Deno.readTextFileSync('/proc/self/stat').split(') ')[1].split(' ');
         console.log(`group ${stat[2]} session ${stat[3]} foreground ${stat[5]}`);",
    );
    let shell = r#"echo "group $$ session $$ foreground $$"; exec "$@""#;
    for flags in [&["-A"][..], &["-A", "--timeout=600s"]] {
        let mut words = vec!["sh", "-c", shell, "sh"];
        let command = stockade(flags);
        words.extend(&command);
        let seen = play(&project, &serde_json::json!([]), &words);
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines.first(), lines.get(1), "{flags:?}: {seen}");
    }
}
