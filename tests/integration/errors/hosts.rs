// SPDX-License-Identifier: MIT
//! Hosts that cannot hold what is asked: too old, too full, or inside of something that forbids it.

use super::*;

#[test]
fn too_few_descriptors() {
    let project = project(STARTED);
    let mut refused = 0;
    for limit in 3..=24 {
        let line = format!("ulimit -n {limit}; exec \"$@\"");
        let words = ["-c", &line, "sh", stockade_path(), "run", "main.ts"];
        let outcome = project.launch("/bin/sh".as_ref(), &words).run();
        assert!(
            !outcome.stderr.contains("panicked at src/"),
            "{limit}: {}",
            outcome.stderr
        );
        match outcome.code {
            // The loader finds no library before Stockade is there at all.
            Some(127) => assert!(limit < 5, "{limit}: {}", outcome.stderr),
            Some(125) => {
                refused += 1;
                outcome.expect_refused().expect_error("error: ");
                assert!(
                    outcome.stderr.contains("Too many open files")
                        || outcome.stderr.contains("descriptors"),
                    "{limit}: {}",
                    outcome.stderr
                );
            }
            // Deno itself found too few, after it was started.
            Some(0) => assert_eq!(outcome.stdout, "started\n"),
            _ => assert!(
                outcome.signal.is_some() || outcome.code == Some(1),
                "{limit}: {outcome:?}"
            ),
        }
    }
    assert!(refused > 0, "no limit made Stockade refuse");
    starts(project.stockade(&["run", "main.ts"]));
}

/// Puts `argv[1]` Landlock layers around the rest of the command line.
const LAYERS: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
for _ in range(int(sys.argv[1])):
    # Handles the making of character devices alone, which nobody here does.
    ruleset = libc.syscall(444, struct.pack("Q", 1 << 6), ctypes.c_size_t(8), 0)
    assert ruleset >= 0 and libc.syscall(446, ruleset, 0) == 0, ctypes.get_errno()
    os.close(ruleset)
os.execv(sys.argv[2], sys.argv[2:])
"#;

#[test]
fn too_many_landlock_layers() {
    let project = project(STARTED);
    // The second run is to follow the first one's stamp, which trusts no file that has just changed.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let inside = |layers: &str| {
        through_python(
            &project,
            LAYERS,
            &[layers, stockade_path(), "run", "main.ts"],
        )
    };
    starts(inside("15"));
    insta::assert_snapshot!(refusal(&project, inside("16")), @r"
    error: cannot start the target: `landlock_restrict_self` failed, the program was not started: Argument list too long
    hint: 16 Landlock layers are in force already, the kernel takes no more: start it outside of some of the sandboxes around it
    ");
}

#[test]
fn kernels_without_landlock() {
    let project = project(STARTED);
    let mut all = String::new();
    for abi in ["0", "1"] {
        let launch = project
            .stockade(&["run", "main.ts"])
            .env("STOCKADE_LANDLOCK_ABI", abi);
        let _ = writeln!(
            all,
            "$ STOCKADE_LANDLOCK_ABI={abi} stockade run main.ts\n{}",
            refusal(&project, launch)
        );
    }
    starts(
        project
            .stockade(&["run", "main.ts"])
            .env("STOCKADE_LANDLOCK_ABI", "2"),
    );
    insta::assert_snapshot!(all, @r"
    $ STOCKADE_LANDLOCK_ABI=0 stockade run main.ts
    error: `every run` needs Landlock (ABI 2), which this kernel does not have
    hint: Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK has it; `--best-effort` runs without it and says so

    $ STOCKADE_LANDLOCK_ABI=1 stockade run main.ts
    error: `every run` needs Landlock (ABI 2), which this kernel does not have
    hint: Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK has it; `--best-effort` runs without it and says so
    ");
}

#[test]
fn best_effort_goes_on_and_says_so_each_time() {
    let project = project(STARTED);
    let below = |abi: &str, flags: &[&str]| {
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("main.ts");
        project.stockade(&words).env("STOCKADE_LANDLOCK_ABI", abi)
    };
    let message = refusal(&project, below("5", &["--allow-run=sh"]));
    insta::assert_snapshot!(message, @r"
    error: `--allow-run=sh` needs Landlock's signal scope (ABI 6), which this kernel does not have
    hint: Linux 6.12 has it; `--best-effort` runs without it and says so
    ");
    let show = |outcome: Outcome| text(&project, &outcome);
    let first = show(below("5", &["--allow-run=sh", "--best-effort"]).run());
    let second = show(below("5", &["--allow-run=sh", "--best-effort"]).run());
    assert_eq!(first, second, "it is said each time");
    insta::assert_snapshot!(first, @r"
    exit 0
    --- stdout
    started
    --- stderr
    warning: children can send signals to processes of the same user outside the run, because this kernel lacks Landlock's signal scope (ABI 6)
    ");
    insta::assert_snapshot!(show(below("1", &["--best-effort"]).run()), @r"
    exit 0
    --- stdout
    started
    --- stderr
    warning: no file rule is held by the kernel, because this kernel lacks Landlock (ABI 2)
    ");
    starts(below("6", &["--allow-run=sh"]));
}

/// Makes system calls of the list `argv[1]` answer the errno `argv[2]`, around the rest.
const OUTER_FILTER: &str = r#"
import ctypes, os, struct, sys
def insn(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)
program = insn(0x20, 0, 0, 0)
for nr in sys.argv[1].split(","):
    program += insn(0x15, 0, 1, int(nr)) + insn(0x06, 0, 0, 0x00050000 | int(sys.argv[2]))
program += insn(0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(program, len(program))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
filter = Program(len(program) // 8, ctypes.addressof(code))
assert libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[3], sys.argv[3:])
"#;

#[test]
fn outer_sandboxes_that_refuse_what_is_needed() {
    let project = project(STARTED);
    let inside = |calls: &str, errno: i32| {
        let errno = errno.to_string();
        let words = [calls, &errno, stockade_path(), "run", "main.ts"];
        through_python(&project, OUTER_FILTER, &words)
    };
    let seccomp = if cfg!(target_arch = "x86_64") {
        "317"
    } else {
        "277"
    };
    let mut all = String::new();
    for (what, calls, errno) in [
        ("seccomp(2) answers EPERM", seccomp, libc_errno("EPERM")),
        ("seccomp(2) answers ENOSYS", seccomp, libc_errno("ENOSYS")),
        ("Landlock answers EPERM", "444,445,446", libc_errno("EPERM")),
        (
            "Landlock answers ENOSYS",
            "444,445,446",
            libc_errno("ENOSYS"),
        ),
        (
            "only landlock_restrict_self answers EPERM",
            "446",
            libc_errno("EPERM"),
        ),
    ] {
        let _ = writeln!(all, "{what}\n{}", refusal(&project, inside(calls, errno)));
    }
    // The filter by itself is no hindrance: 452 is fchmodat2, which nobody here needs.
    starts(inside("452", libc_errno("EPERM")));
    insta::assert_snapshot!(all, @r"
    seccomp(2) answers EPERM
    error: `every run` needs seccomp filters, which this kernel does not have
    hint: Linux 3.17 built with CONFIG_SECCOMP_FILTER, not refused by an outer sandbox

    seccomp(2) answers ENOSYS
    error: `every run` needs seccomp filters, which this kernel does not have
    hint: Linux 3.17 built with CONFIG_SECCOMP_FILTER, not refused by an outer sandbox

    Landlock answers EPERM
    error: `every run` needs Landlock (ABI 2), which this kernel does not have
    hint: an outer sandbox refuses Landlock's system calls: run outside it, or let it allow them; `--best-effort` runs without it and says so

    Landlock answers ENOSYS
    error: `every run` needs Landlock (ABI 2), which this kernel does not have
    hint: Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK has it; `--best-effort` runs without it and says so

    only landlock_restrict_self answers EPERM
    error: cannot resolve the modules of `[DIR]/main.ts`: cannot start the target: `landlock_restrict_self` failed, the program was not started: Operation not permitted
    hint: an outer sandbox refuses this call: allow it in its seccomp profile
    ");
}

fn libc_errno(name: &str) -> i32 {
    match name {
        "EPERM" => nix::errno::Errno::EPERM as i32,
        _ => nix::errno::Errno::ENOSYS as i32,
    }
}
