// SPDX-License-Identifier: MIT
//! What no permission opens: the kernel's attack surface, capabilities, descriptors, `-A` or not.

use libc::{EACCES, ENOSYS, EPERM};

use crate::machine::superuser;
use crate::support::{Project, expect_errno, expect_not_errno, stockade_binary};

/// How the control outside any sandbox is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    /// The kernel answers otherwise to everyone.
    Anyone,
    /// The kernel answers otherwise to the superuser only.
    Superuser,
    /// Whether the kernel has it differs: no control.
    None,
}

use Control::{Anyone, None as Uncontrolled, Superuser};

/// Probe, the answers accepted inside, the control.
const SURFACE: &[(&str, &[i32], Control)] = &[
    ("clone3:0:", &[ENOSYS], Anyone),
    ("io_uring:0:", &[ENOSYS], Anyone),
    ("userfaultfd:0:", &[ENOSYS, EPERM], Anyone),
    ("add_key:0:", &[EPERM, ENOSYS], Anyone),
    ("request_key:0:", &[EPERM, ENOSYS], Anyone),
    ("keyctl:0:", &[EPERM, ENOSYS], Anyone),
    ("personality:0:", &[EPERM], Anyone),
    ("shmget:0:", &[EPERM, ENOSYS], Anyone),
    ("semget:0:", &[EPERM, ENOSYS], Anyone),
    ("msgget:0:", &[EPERM, ENOSYS], Anyone),
    ("mq_open:0:", &[EACCES, EPERM, ENOSYS], Anyone),
    ("seccomp_listener:0:", &[EPERM], Anyone),
    ("unshare:268435456:", &[EPERM], Anyone),    // NEWUSER
    ("unshare:134217728:", &[EPERM], Superuser), // NEWIPC
    ("unshare:128:", &[EPERM], Superuser),       // NEWTIME
    ("setns:0:", &[EPERM], Anyone),
    ("mount:0:", &[EPERM], Anyone),
    ("umount:0:", &[EPERM], Anyone),
    ("open_tree:0:", &[EPERM, ENOSYS], Anyone),
    ("move_mount:0:", &[EPERM, ENOSYS], Superuser),
    ("fsopen:0:", &[EPERM, ENOSYS], Superuser),
    ("mount_setattr:0:", &[EPERM, ENOSYS], Superuser),
    ("pivot_root:0:", &[EPERM], Superuser),
    ("chroot:0:", &[EPERM], Superuser),
    ("bpf:0:", &[EPERM, ENOSYS], Superuser),
    ("perf:0:", &[EPERM, EACCES, ENOSYS], Anyone),
    ("finit_module:0:", &[EPERM, ENOSYS], Uncontrolled),
    ("fanotify:0:", &[EPERM, ENOSYS], Superuser),
    ("syslog:0:", &[EPERM], Superuser),
    ("open_by_handle:0:", &[EPERM, ENOSYS], Superuser),
    ("name_to_handle:0:/etc/passwd", &[EPERM, ENOSYS], Anyone),
    ("dumpable:0:", &[EPERM], Anyone),
    ("ptracer:0:", &[EPERM, libc::EINVAL], Uncontrolled),
    ("process_madvise:0:", &[EPERM, ENOSYS], Anyone),
    ("ioctl:21522:", &[EPERM], Anyone),       // TIOCSTI
    ("ioctl:4294988818:", &[EPERM], Anyone),  // … with a bit above the kernel's 32
    ("ioctl:-4294945774:", &[EPERM], Anyone), // … with all of them
    ("ioctl:21532:", &[EPERM], Anyone),       // TIOCLINUX
    ("ioctl:4294988828:", &[EPERM], Anyone),
    ("ioctl:21539:", &[EPERM], Anyone), // TIOCSETD
    #[cfg(target_arch = "x86_64")]
    ("modify_ldt:0:", &[EPERM, ENOSYS], Anyone),
    #[cfg(target_arch = "x86_64")]
    ("iopl:0:", &[EPERM, ENOSYS], Uncontrolled),
    #[cfg(target_arch = "x86_64")]
    ("syscall:172:", &[EPERM, ENOSYS], Uncontrolled), // iopl again, by number
    ("syscall:1000:", &[ENOSYS], Uncontrolled),
    ("syscall:511:", &[ENOSYS], Uncontrolled),
    // No core file, which would hold the memory, is ever written.
    ("core_limit:0:", &[0], Anyone),
];

#[test]
fn the_kernels_surface_is_closed() {
    let project = Project::new();
    let items: Vec<&str> = SURFACE.iter().map(|(item, ..)| *item).collect();
    let runs = [
        ("no grant", project.probe(&[], &items)),
        ("-A", project.probe(&["-A"], &items)),
        (
            "all but run",
            project.probe(
                &[
                    "--allow-read",
                    "--allow-write",
                    "--allow-net",
                    "--allow-env",
                    "--allow-sys",
                ],
                &items,
            ),
        ),
        ("a child", project.probe_child(&[], &items)),
    ];
    let outside = project.probe_bare(&items);
    for (item, accepted, control) in SURFACE {
        for (name, answers) in &runs {
            let seen = answers[*item];
            assert!(
                accepted.iter().any(|errno| i64::from(*errno) == seen),
                "{item} with {name}: expected one of {accepted:?}, got {seen}"
            );
        }
        if *item == "core_limit:0:" {
            continue;
        }
        if *control == Anyone || (*control == Superuser && superuser()) {
            expect_not_errno(&outside, item, accepted);
        }
    }
}

#[test]
fn what_programs_need_stays_open() {
    let project = Project::new();
    let items = [
        "socketpair:1:",
        "stat:0:/",
        "open:0:/dev/null",
        "setpriority:0:",
        "kill_self:0:",
        "prlimit:0:",
    ];
    for (item, errno) in project.probe(&[], &items) {
        assert_eq!(errno, 0, "{item}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn other_system_call_tables_are_shut() {
    let project = Project::new();
    // 32-bit: the process is killed by SIGSYS.
    let item = ["int80:0:"];
    for outcome in [
        project.probe_outcome(&[], &item),
        project.probe_outcome(&["-A"], &item),
    ] {
        assert!(
            outcome.signal == Some(libc::SIGSYS) || outcome.code == Some(128 + libc::SIGSYS),
            "{outcome:?}"
        );
    }
    let child = project.probe_child_outcome(&[], &item);
    assert!(!child.stdout.contains("int80:0:=0"), "{child:?}");
    let bare = project.probe_bare(&item);
    if bare[item[0]] != 0 {
        eprintln!("skipped: this kernel has no 32-bit system calls, so there is no control");
    }
    // x32: unknown, or killed.
    let item = ["x32:0:"];
    for outcome in [
        project.probe_outcome(&[], &item),
        project.probe_outcome(&["-A"], &item),
    ] {
        if outcome.signal != Some(libc::SIGSYS) && outcome.code != Some(128 + libc::SIGSYS) {
            expect_errno(&outcome.expect_answers(&item), item[0], &[ENOSYS]);
        }
    }
}

#[test]
fn capabilities_are_zero_and_privileges_cannot_grow() {
    let project = Project::new();
    let item = "cat:0:/proc/self/status";
    let outcomes = [
        project.probe_outcome(&[], &[item]),
        project.probe_outcome(&["-A"], &[item]),
        project.probe_child_outcome(&[], &[item]),
    ];
    for outcome in outcomes {
        expect_errno(&outcome.expect_answers(&[item]), item, &[0]);
        let field = |name: &str| {
            let line = outcome
                .stdout
                .lines()
                .find(|line| line.starts_with(&format!("{name}:")));
            line.unwrap_or_else(|| panic!("no {name} in {}", outcome.stdout))
                .split_whitespace()
                .nth(1)
                .unwrap()
                .to_owned()
        };
        // Lowering the bounding set takes CAP_SETPCAP; without it no_new_privs alone keeps it unused.
        let bounding = superuser().then_some("CapBnd");
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"]
            .into_iter()
            .chain(bounding)
        {
            assert_eq!(field(name), "0000000000000000", "{name}");
        }
        assert_eq!(field("NoNewPrivs"), "1");
        assert_eq!(field("Seccomp"), "2");
    }
    if superuser() {
        let outside = project.probe_bare_outcome(&[item]);
        assert!(
            !outside.stdout.contains("CapEff:\t0000000000000000"),
            "{}",
            outside.stdout
        );
        // What capabilities would do is refused by them, too.
        let device = format!("mknod:0:{}", project.path("device"));
        expect_errno(
            &project.probe(&["--allow-write"], &[&device]),
            &device,
            &[EPERM, EACCES],
        );
        expect_errno(&project.probe_bare(&[&device]), &device, &[0]);
    }
}

#[test]
fn inherited_descriptors_are_closed() {
    let project = Project::new()
        .file("secret-file", "secret")
        .file("secret-directory/inner", "secret");
    let (file, directory) = (
        project.path("secret-file"),
        project.path("secret-directory"),
    );
    // Descriptors 9 and 8 come from the caller, one of them a directory.
    let prepare = format!("exec 9<{file} 8<{directory} \"$@\"");
    let items = ["descriptor:3:secret-file", "descriptor:3:secret-directory"];
    let confined = project
        .probe_launch(&[], &items)
        .through_shell(&prepare)
        .run();
    for (item, descriptor) in confined.expect_answers(&items) {
        assert_eq!(descriptor, 0, "{item} is still open");
    }
    let child = project
        .start(
            &[&format!(
                "--allow-run={}",
                crate::support::probes().program.display()
            )],
            &[
                crate::support::probes().program.to_str().unwrap(),
                items[0],
                items[1],
            ],
        )
        .through_shell(&prepare)
        .run();
    for (item, descriptor) in child.expect_answers(&items) {
        assert_eq!(descriptor, 0, "{item} is still open in the child");
    }
    let outside = project
        .launch(&crate::support::probes().program, &items)
        .through_shell(&prepare)
        .run();
    for (item, descriptor) in outside.expect_answers(&items) {
        assert!(descriptor >= 1000, "the control of {item}");
    }
}

/// The supervisor reads what a target sends it: its own addresses are not known beforehand, and the
/// tables of addresses in it cannot be written.
#[test]
fn stockade_itself_moves_and_is_sealed() {
    use elf::abi::{DF_BIND_NOW, DT_FLAGS, ET_DYN, PF_W, PF_X, PT_GNU_RELRO, PT_LOAD};

    let bytes = std::fs::read(stockade_binary()).unwrap();
    let file = elf::ElfBytes::<elf::endian::NativeEndian>::minimal_parse(&bytes).unwrap();
    assert_eq!(file.ehdr.e_type, ET_DYN, "it has a fixed address");
    let segments = file.segments().unwrap();
    for segment in segments.iter().filter(|one| one.p_type == PT_LOAD) {
        let both = PF_W | PF_X;
        assert_ne!(segment.p_flags & both, both, "{segment:?}");
    }
    let dynamic = file.dynamic().unwrap().unwrap();
    let now = dynamic
        .iter()
        .any(|entry| entry.d_tag == DT_FLAGS && entry.d_val() & DF_BIND_NOW.unsigned_abs() != 0);
    assert!(now, "addresses are looked up while it runs");
    let sealed = segments
        .iter()
        .find(|one| one.p_type == PT_GNU_RELRO)
        .expect("nothing is sealed");
    let sealed = sealed.p_vaddr..sealed.p_vaddr + sealed.p_memsz;
    for name in [".got", ".got.plt", ".data.rel.ro"] {
        if let Some(section) = file.section_header_by_name(name).unwrap() {
            let inside = sealed.contains(&section.sh_addr)
                && section.sh_addr + section.sh_size <= sealed.end;
            assert!(inside, "{name} stays writable");
        }
    }
}
