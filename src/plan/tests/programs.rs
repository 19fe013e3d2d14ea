// SPDX-License-Identifier: MIT
//! Programs that may be started: what a grant brings along, and what it never brings.

use super::*;

fn run_machine() -> FakeHost {
    machine()
        .with_file("/usr/bin/tool", elf("/lib64/ld.so"))
        .with_file("/usr/bin/env", elf("/lib64/ld.so"))
        .with_file("/usr/bin/bash", elf("/lib64/ld.so"))
        .with_file("/work/script", "#!/usr/bin/env -S tool --flag\n")
        .with_file("/work/broken", "#!/usr/bin/missing\n")
        .with_file(
            "/home/user/.pyenv/shims/python3",
            "#!/usr/bin/env bash\nexec pyenv exec\n",
        )
        .with_file("/home/user/.pyenv/version", "3.12.1\n")
        .with_file(
            "/home/user/.pyenv/versions/3.12.1/bin/python3",
            elf("/lib64/ld.so"),
        )
        .with_file("/home/user/.pyenv/versions/3.12.1/lib/libpython.so", "")
        .executable("/usr/bin/tool")
        .executable("/usr/bin/env")
        .executable("/usr/bin/bash")
        .executable("/home/user/.pyenv/shims/python3")
        .with_environment(&[("PATH", "/home/user/.pyenv/shims:/usr/bin")])
}

fn run_policy(text: &str) -> Policy {
    let descriptor = if text.contains('/') {
        RunDescriptor::Path(text.into())
    } else {
        RunDescriptor::Name(text.into())
    };
    let mut policy = Policy::default();
    policy.run.allow.entries = vec![entry("--allow-run", text, descriptor)];
    policy
}

#[test]
fn a_granted_script_brings_its_interpreters() {
    let policy = run_policy("./script");
    let plan = build(&request(&policy), &run_machine()).unwrap();
    let Execution::List(programs) = &plan.execution else {
        panic!("{:?}", plan.execution)
    };
    let expected: Vec<PathBuf> = ["/usr/bin/env", "/usr/lib/gnu/ld.so", "/usr/bin/tool"]
        .map(PathBuf::from)
        .into();
    assert_eq!(programs[0].interpreters, expected);
    for path in [
        "/work/script",
        "/usr/bin/env",
        "/usr/bin/tool",
        "/usr/lib/gnu/ld.so",
    ] {
        assert!(access(&plan, path).contains(Access::EXECUTE), "{path}");
    }
    assert!(!access(&plan, "/usr/bin/bash").contains(Access::EXECUTE));
    assert!(plan.lifetime.waiter && plan.syscalls.processes);
}

#[test]
fn shims_become_the_real_program() {
    let policy = run_policy("python3");
    let plan = build(&request(&policy), &run_machine()).unwrap();
    let real = "/home/user/.pyenv/versions/3.12.1/bin/python3";
    assert!(access(&plan, real).contains(Access::EXECUTE));
    assert!(!access(&plan, "/usr/bin/bash").contains(Access::EXECUTE));
    assert!(
        access(&plan, "/home/user/.pyenv/versions/3.12.1/lib/libpython.so")
            .contains(Access::READ_FILE)
    );
    let path = plan
        .environment
        .iter()
        .find(|entry| entry.name == "PATH")
        .unwrap();
    assert_eq!(
        path.source,
        VariableSource::Set(
            "/home/user/.pyenv/versions/3.12.1/bin:/home/user/.pyenv/shims:/usr/bin".to_owned()
        )
    );
    assert_eq!(plan.notices.len(), 1);
}

#[test]
fn programs_that_cannot_run_are_errors() {
    let refuse = |text: &str, host: &FakeHost| {
        build(&request(&run_policy(text)), host)
            .unwrap_err()
            .to_string()
    };
    assert!(refuse("./broken", &run_machine()).contains("its interpreter `/usr/bin/missing`"));
    let no_version = run_machine().without("/home/user/.pyenv/version");
    assert!(refuse("python3", &no_version).contains("is a shim of pyenv, and no version"));
    let old = run_machine().with_landlock(5);
    assert!(refuse("tool", &old).contains("needs Landlock's signal scope (ABI 6)"));
    let policy = run_policy("tool");
    let degraded = Request {
        best_effort: true,
        ..request(&policy)
    };
    let plan = build(&degraded, &old).unwrap();
    assert!(
        plan.gaps
            .iter()
            .any(|gap| gap.what.starts_with("children can send signals"))
    );
}

#[test]
fn an_unknown_program_is_a_notice_and_no_grant() {
    let policy = run_policy("nowhere");
    let plan = build(&request(&policy), &run_machine()).unwrap();
    assert_eq!(plan.execution, Execution::None);
    assert_eq!(
        plan.notices,
        ["`--allow-run=nowhere` is not in PATH: nothing was granted"]
    );
}

#[test]
fn a_denied_program_stays_denied_beside_one_that_cannot_be_resolved() {
    let mut policy = run_policy("tool");
    let deny = |text: &str, descriptor| entry("--deny-run", text, descriptor);
    policy.run.deny.entries = vec![
        deny("./broken", RunDescriptor::Path("./broken".into())),
        deny("/usr/bin/tool", RunDescriptor::Path("/usr/bin/tool".into())),
    ];
    let plan = build(&request(&policy), &run_machine()).unwrap();
    assert_eq!(plan.execution, Execution::None);
    policy.run.deny.entries.pop();
    let plan = build(&request(&policy), &run_machine()).unwrap();
    assert!(matches!(plan.execution, Execution::List(_)));
}

#[test]
fn granted_programs_are_not_writable() {
    let mut policy = run_policy("./script");
    policy.write = write_policy(&["."], &[]).write;
    let plan = build(&request(&policy), &run_machine()).unwrap();
    assert!(!access(&plan, "/work/script").intersects(Access::WRITE));
    assert!(access(&plan, "/work/data").contains(Access::MAKE_REG));
}
