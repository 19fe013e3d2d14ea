// SPDX-License-Identifier: MIT
//! Plans of made-up machines: which rule each grant and denial becomes.

use std::path::{Path, PathBuf};

use super::*;
use crate::host::fake::FakeHost;
use crate::policy::limits::Limits;
use crate::policy::{Entry, EnvDescriptor, PathDescriptor, Policy, RunDescriptor, SysDescriptor};

mod programs;

pub(super) fn machine() -> FakeHost {
    FakeHost::new()
        .with_file("/opt/runner", elf("/lib64/ld.so"))
        .with_file("/usr/lib/gnu/ld.so", elf(""))
        .with_link("/lib64/ld.so", "/usr/lib/gnu/ld.so")
        .with_file("/work/main.ts", "")
        .with_file("/work/data/a", "a")
        .with_file("/work/data/secret/key", "k")
        .with_file("/work/.env", "A=1")
        .with_file("/home/user/.ssh/id", "k")
        .with_link("/work/outside", "/home/user")
        .with_link("/work/inside", "/work/data")
        .with_file("/dev/null", "")
        .with_file("/proc/sys/kernel/osrelease", "")
        .with_file("/etc/hosts", "")
        .with_file("/etc/passwd", "")
        .with_current_directory("/work")
        .with_environment(&[
            ("HOME", "/home/user"),
            ("PATH", "/usr/bin:relative:/bin"),
            ("API_KEY", "secret"),
            ("LD_PRELOAD", "/evil.so"),
            ("LANG", "C.UTF-8"),
        ])
}

/// The smallest ELF file with an interpreter: one header, one PT_INTERP.
fn elf(interpreter: &str) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    bytes.resize(16, 0);
    bytes.extend(3u16.to_le_bytes());
    bytes.extend(62u16.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(64u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    let headers: u16 = if interpreter.is_empty() { 0 } else { 1 };
    for value in [64u16, 56, headers, 64, 0, 0] {
        bytes.extend(value.to_le_bytes());
    }
    if !interpreter.is_empty() {
        let size = interpreter.len() as u64 + 1;
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(4u32.to_le_bytes());
        for value in [120u64, 0, 0, size, size, 1] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(interpreter.as_bytes());
        bytes.push(0);
    }
    bytes
}

pub(super) fn entry<D>(flag: &str, text: &str, descriptor: D) -> Entry<D> {
    Entry {
        descriptor,
        text: text.to_owned(),
        origin: Origin::flag(flag, Some(text)),
    }
}

fn path(flag: &str, text: &str) -> Entry<PathDescriptor> {
    let descriptor = PathDescriptor {
        path: text.into(),
        trailing_slash: text.ends_with('/'),
        within: None,
        judged: None,
        optional: false,
    };
    entry(flag, text, descriptor)
}

static NO_SETTINGS: NetSettings = NetSettings {
    private: Vec::new(),
    verify: Vec::new(),
    listener: None,
    observed: false,
    upstream: Upstream {
        name_servers: Vec::new(),
        proxy: None,
    },
};

static NO_LIMITS: Limits = Limits::none();

pub(super) fn request(policy: &Policy) -> Request<'_> {
    Request {
        policy,
        program: Program {
            path: "/opt/runner".into(),
            stamp: None,
            arguments: vec!["deno".to_owned()],
            invoked_as: None,
            directory: "/work".into(),
        },
        subject: Subject::Runner,
        required: Vec::new(),
        variables: Vec::new(),
        env_files: Vec::new(),
        network: &NO_SETTINGS,
        best_effort: false,
        limits: &NO_LIMITS,
        kept: &[],
        timeout: None,
        collected: false,
        attended: false,
    }
}

pub(super) fn plan(policy: &Policy) -> Plan {
    build(&request(policy), &machine()).unwrap()
}

fn refusal(policy: &Policy) -> String {
    build(&request(policy), &machine()).unwrap_err().to_string()
}

pub(super) fn access(plan: &Plan, path: &str) -> Access {
    plan.filesystem
        .rules
        .iter()
        .filter(|rule| Path::new(path).starts_with(&rule.path))
        .fold(Access::NONE, |access, rule| {
            access | rule.access | rule.brokered
        })
}

pub(super) fn reads(policy: &Policy, path: &str) -> bool {
    access(&plan(policy), path).contains(Access::READ_FILE)
}

fn writes(policy: &Policy, path: &str) -> bool {
    access(&plan(policy), path).contains(Access::WRITE_FILE)
}

pub(super) fn read_policy(allow: &[&str], deny: &[&str]) -> Policy {
    let mut policy = Policy::default();
    policy.read.allow.entries = allow
        .iter()
        .map(|text| path("--allow-read", text))
        .collect();
    policy.read.deny.entries = deny.iter().map(|text| path("--deny-read", text)).collect();
    policy
}

pub(super) fn write_policy(allow: &[&str], deny: &[&str]) -> Policy {
    let mut policy = Policy::default();
    policy.write.allow.entries = allow
        .iter()
        .map(|text| path("--allow-write", text))
        .collect();
    policy.write.deny.entries = deny.iter().map(|text| path("--deny-write", text)).collect();
    policy
}

#[test]
fn nothing_granted_means_the_runner_and_the_shipped_lists() {
    let plan = plan(&Policy::default());
    assert!(access(&plan, "/opt/runner").contains(Access::EXECUTE));
    assert!(access(&plan, "/usr/lib/gnu/ld.so").contains(Access::EXECUTE));
    assert!(access(&plan, "/dev/null").contains(Access::WRITE_FILE));
    for closed in [
        "/work/main.ts",
        "/etc/hosts",
        "/etc/passwd",
        "/home/user/.ssh/id",
    ] {
        assert!(access(&plan, closed).is_empty(), "{closed}");
    }
    assert_eq!(plan.network, Network::None);
    assert_eq!(plan.execution, Execution::None);
    assert!(!plan.lifetime.waiter);
    let names: Vec<&str> = plan
        .environment
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["HOME", "LANG", "PATH"]);
}

#[test]
fn read_grants_reach_what_they_name_and_nothing_else() {
    assert!(reads(&read_policy(&["data"], &[]), "/work/data/secret/key"));
    assert!(!reads(&read_policy(&["data"], &[]), "/work/.env"));
    assert!(reads(&read_policy(&["./data/../.env"], &[]), "/work/.env"));
    assert!(reads(&read_policy(&["inside"], &[]), "/work/data/a"));
    assert!(!writes(&read_policy(&["data"], &[]), "/work/data/a"));
}

#[test]
fn deny_wins_in_every_order_and_shape() {
    for (allow, deny, closed) in [
        (vec!["data"], vec!["data"], "/work/data/a"),
        (vec!["data"], vec!["."], "/work/data/a"),
        (vec!["data/a"], vec!["data"], "/work/data/a"),
        (vec!["."], vec!["data/secret"], "/work/data/secret/key"),
        (vec!["/work"], vec!["inside"], "/work/data/a"),
        (vec!["/"], vec!["/work/data"], "/work/data/secret/key"),
        (
            vec!["data", "data/secret/key"],
            vec!["data/secret"],
            "/work/data/secret/key",
        ),
    ] {
        assert!(
            reads(&read_policy(&allow, &[]), closed),
            "twin of {allow:?}"
        );
        assert!(
            !reads(&read_policy(&allow, &deny), closed),
            "{allow:?} minus {deny:?}"
        );
    }
}

#[test]
fn carving_keeps_the_neighbours_and_says_what_is_lost() {
    let policy = read_policy(&["."], &["data/secret"]);
    let carved = plan(&policy);
    for open in ["/work/.env", "/work/data/a", "/work/main.ts"] {
        assert!(access(&carved, open).contains(Access::READ_FILE), "{open}");
    }
    assert!(!access(&carved, "/work/data").contains(Access::READ_DIR));
    assert_eq!(
        carved.notices,
        [
            "`/work` itself cannot be listed: `--deny-read=data/secret` inside it is held by \
             granting everything around it",
            "`/work/data` itself cannot be listed: `--deny-read=data/secret` inside it is held by \
             granting everything around it",
        ]
    );
    let around_a_file = plan(&read_policy(&["."], &[".env"]));
    assert!(access(&around_a_file, "/work").contains(Access::READ_DIR));
    assert!(!access(&around_a_file, "/work/.env").contains(Access::READ_FILE));
    assert!(around_a_file.notices.is_empty());
}

#[test]
fn write_denials_cost_creating_beside_them() {
    let carved = plan(&write_policy(&["."], &[".env"]));
    assert!(access(&carved, "/work/data").contains(Access::MAKE_REG));
    assert!(!access(&carved, "/work/new").intersects(Access::WRITE));
    assert!(!access(&carved, "/work/.env").intersects(Access::WRITE));
    assert_eq!(carved.notices.len(), 1);
}

#[test]
fn a_read_denial_keeps_what_it_denies_from_being_renamed() {
    let mut policy = read_policy(&["."], &["data/secret", ".env"]);
    policy.write = write_policy(&["."], &[]).write;
    let carved = plan(&policy);
    for around in ["/work", "/work/data", "/work/data/secret"] {
        let rights = Access::MAKE_REG | Access::REMOVE_FILE | Access::REMOVE_DIR | Access::REFER;
        assert!(!access(&carved, around).intersects(rights), "{around}");
    }
    assert!(access(&carved, "/work/.env").contains(Access::WRITE_FILE));
    assert!(!access(&carved, "/work/.env").intersects(Access::READ));
    policy.read.deny.entries.clear();
    assert!(access(&plan(&policy), "/work/data").contains(Access::MAKE_REG | Access::REFER));
}

#[test]
fn a_missing_denial_is_a_gap() {
    let plan = plan(&read_policy(&["."], &["later"]));
    assert!(plan.gaps.iter().any(|gap| {
        gap.what
            .starts_with("`/work/later` does not exist or cannot be reached now")
    }));
}

#[test]
fn relative_grants_stay_in_their_directory() {
    assert_eq!(
        refusal(&read_policy(&["outside"], &[])),
        "`--allow-read=outside` leads to `/home/user`, outside `/work`"
    );
    assert!(reads(
        &read_policy(&["/work/outside"], &[]),
        "/home/user/.ssh/id"
    ));
    assert!(reads(&read_policy(&["../home"], &[]), "/home/user/.ssh/id"));
}

#[test]
fn missing_grants_are_errors_or_created() {
    assert_eq!(
        refusal(&read_policy(&["nothing"], &[])),
        "cannot open `/work/nothing`, granted by `--allow-read=nothing`"
    );
    let created = plan(&write_policy(&["new.txt", "logs/"], &[]));
    let paths: Vec<(PathBuf, bool)> = created
        .filesystem
        .created
        .iter()
        .map(|created| (created.path.clone(), created.directory))
        .collect();
    assert_eq!(
        paths,
        [("/work/new.txt".into(), false), ("/work/logs".into(), true)]
    );
    assert!(created.lifetime.waiter);
    let mut both = write_policy(&["new.txt"], &[]);
    both.read = read_policy(&["new.txt"], &[]).read;
    let both = plan(&both);
    assert_eq!(both.filesystem.created.len(), 1);
    assert!(access(&both, "/work/new.txt").contains(Access::READ_FILE | Access::WRITE_FILE));
    assert!(refusal(&write_policy(&["no/where"], &[])).starts_with("cannot create"));
}

#[test]
fn bare_grants_leave_out_the_kernel_directories() {
    let mut policy = Policy::default();
    policy.read.allow.all = Some(Origin::flag("--allow-read", None));
    policy.write.allow.all = Some(Origin::flag("--allow-write", None));
    assert!(reads(&policy, "/work/data/a") && writes(&policy, "/work/data/a"));
    assert!(!reads(&policy, "/proc/sys/kernel/osrelease"));
    assert!(!writes(&policy, "/proc/sys/kernel/osrelease"));
    policy.all = Some(Origin::flag("--allow-all", None));
    assert!(reads(&policy, "/proc/sys/kernel/osrelease"));
    assert!(!writes(&policy, "/proc/sys/kernel/osrelease"));
}

#[test]
fn kernel_settings_and_disks_are_never_writable() {
    assert_eq!(
        refusal(&write_policy(&["/proc/sys/kernel/osrelease"], &[])),
        "`--allow-write=/proc/sys/kernel/osrelease` names `/proc/sys/kernel/osrelease`, the \
         kernel's own settings, which is never writable"
    );
    assert!(refusal(&write_policy(&["/proc"], &[])).contains("never writable"));
}

#[test]
fn environment_is_what_is_named() {
    let mut policy = Policy::default();
    let names = |policy: &Policy| -> Vec<String> {
        plan(policy)
            .environment
            .into_iter()
            .map(|entry| entry.name)
            .collect()
    };
    policy.env.allow.entries = vec![entry(
        "--allow-env",
        "API_*",
        EnvDescriptor::Prefix("API_".into()),
    )];
    assert_eq!(names(&policy), ["API_KEY", "HOME", "LANG", "PATH"]);
    policy.env.deny.entries = vec![entry(
        "--deny-env",
        "API_KEY",
        EnvDescriptor::Name("API_KEY".into()),
    )];
    assert_eq!(names(&policy), ["HOME", "LANG", "PATH"]);
    let mut policy = Policy::default();
    policy.env.allow.all = Some(Origin::flag("--allow-env", None));
    assert_eq!(names(&policy), ["API_KEY", "HOME", "LANG", "PATH"]);
    policy.env.allow.entries = vec![entry(
        "--allow-env",
        "LD_PRELOAD",
        EnvDescriptor::Name("LD_PRELOAD".into()),
    )];
    assert_eq!(
        names(&policy),
        ["API_KEY", "HOME", "LANG", "LD_PRELOAD", "PATH"]
    );
    policy.env.deny.entries = vec![entry(
        "--deny-env",
        "LANG",
        EnvDescriptor::Name("LANG".into()),
    )];
    assert_eq!(names(&policy), ["API_KEY", "HOME", "LD_PRELOAD", "PATH"]);
}

#[test]
fn kernels_below_the_floor_are_refused() {
    for (abi, since) in [(0, "Landlock (ABI 2)"), (1, "Landlock (ABI 2)")] {
        let policy = Policy::default();
        let error = build(&request(&policy), &machine().with_landlock(abi)).unwrap_err();
        assert!(error.to_string().contains(since), "{error}");
        let degraded = Request {
            best_effort: true,
            ..request(&policy)
        };
        let plan = build(&degraded, &machine().with_landlock(abi)).unwrap();
        assert_eq!(plan.filesystem.abi, 0);
        assert!(
            plan.gaps
                .iter()
                .any(|gap| gap.what.starts_with("no file rule is held"))
        );
    }
}

#[test]
fn system_information_opens_its_files_only() {
    let mut policy = Policy::default();
    policy.sys.allow.entries = vec![entry(
        "--allow-sys",
        "osRelease",
        SysDescriptor("osRelease".into()),
    )];
    assert!(reads(&policy, "/proc/sys/kernel/osrelease"));
    assert!(!reads(&Policy::default(), "/proc/sys/kernel/osrelease"));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let policy = read_policy(&["data", "."], &["data/secret"]);
    let render = || serde_json::to_string(&plan(&policy)).unwrap();
    assert_eq!(render(), render());
}

#[test]
fn why_names_the_wall_and_the_flag() {
    let plan = plan(&read_policy(&["data"], &["data/secret"]));
    let ask = |text: &str| why::answer(&plan, &text.parse().unwrap());
    assert!(ask("read:data/a").allowed);
    assert_eq!(
        ask("read:/etc/passwd").opened_by.as_deref(),
        Some("--allow-read=/etc/passwd")
    );
    assert_eq!(
        ask("read:data/secret/key").opened_by.as_deref(),
        Some("leave out `--deny-read=data/secret`")
    );
    assert_eq!(
        ask("write:data/a").opened_by.as_deref(),
        Some("--allow-write=/work/data/a")
    );
    assert_eq!(
        ask("net:example.test").opened_by.as_deref(),
        Some("--allow-net=example.test")
    );
    assert_eq!(
        ask("env:USER").opened_by.as_deref(),
        Some("--allow-env=USER, and no `--deny-env` that covers it")
    );
    assert_eq!(ask("run:git").opened_by.as_deref(), Some("--allow-run=git"));
    assert!("walk:dog".parse::<why::Question>().is_err());
}

#[test]
fn the_bare_ffi_flag_reads_nothing_of_the_users() {
    let mut policy = Policy::default();
    policy.ffi.allow.all = Some(Origin::flag("--allow-ffi", None));
    assert!(!reads(&policy, "/home/user/.ssh/id"));
    policy.ffi.allow.entries = vec![
        path("--allow-ffi", "data/a"),
        path("--allow-ffi", "libc.so.6"),
    ];
    assert!(reads(&policy, "/work/data/a"));
    assert!(!reads(&policy, "/work/data/secret/key"));
}
