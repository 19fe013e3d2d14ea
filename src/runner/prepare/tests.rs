// SPDX-License-Identifier: MIT
//! What prepare decides before it runs anything.

use super::*;
use crate::host::FileStamp;
use crate::host::fake::FakeHost;
use crate::plan::Access;
use crate::runner::Version;
use crate::runner::deno_dir::PrivateDirectory;

fn runner() -> Runner {
    let stamp = FileStamp {
        device: 0,
        inode: 0,
        size: 0,
        modified_ns: 0,
        changed_ns: 0,
    };
    Runner {
        path: "/deno".into(),
        stamp,
        version: Version::new(2, 9, 6),
        id: "r".to_owned(),
    }
}

fn key(change: impl Fn(&mut Request<'_>)) -> String {
    let (runner, config) = (runner(), ConfigFlags::default());
    let (policy, lock) = (Policy::default(), LockFlags::default());
    let mut request = Request {
        runner: &runner,
        cache: Path::new("/c"),
        entry: Entry::Code("data:,"),
        further: &[],
        config: &config,
        lock: &lock,
        resolution_flags: &[],
        download_flags: &[],
        download_files: &[],
        check: Check::Local,
        offline: false,
        node_modules: None,
        policy: &policy,
        policy_name: "p",
        read_rule: &|_| ReadRule::Unsaid,
        follow_stamp: true,
        writes: true,
        arguments: None,
    };
    change(&mut request);
    let entry = match request.entry {
        Entry::Script(path) => path.display().to_string(),
        Entry::Code(url) => url.to_owned(),
    };
    keys::program(&FakeHost::new(), &request, &entry)
}

#[test]
fn another_policy_is_another_program() {
    assert_eq!(key(|_| ()), key(|request| request.follow_stamp = false));
    assert_ne!(key(|_| ()), key(|request| request.policy_name = "q"));
    assert_ne!(
        key(|_| ()),
        key(|request| request.entry = Entry::Script(Path::new("/m.ts")))
    );
    let none = ConfigFlags {
        none: true,
        ..ConfigFlags::default()
    };
    assert_ne!(
        key(|_| ()),
        key(|request| request.config = Box::leak(Box::new(none.clone())))
    );
}

#[test]
fn a_script_that_is_none_is_named() {
    let host = FakeHost::new()
        .with_directory("/w")
        .with_file("/w/m.ts", "");
    let check = |text: &str| check_entry(&host, Path::new(text));
    assert_eq!(check("/w/m.ts").unwrap(), Path::new("/w/m.ts"));
    assert_eq!(check("file:///w/m.ts").unwrap(), Path::new("/w/m.ts"));
    assert!(matches!(
        check("/w/x.ts"),
        Err(PrepareError::Missing { .. })
    ));
    assert!(matches!(check("/w"), Err(PrepareError::NotFile { .. })));
    assert!(matches!(
        check("data:text/javascript,1"),
        Err(PrepareError::NotLocal { .. })
    ));
}

#[test]
fn no_links_are_made_in_the_private_directories() {
    let directory = PrivateDirectory {
        path: "/d".into(),
        generated: "/d/gen".into(),
        data: "/data".into(),
    };
    let rules = grants::prepared("/w".into(), &[], &directory, Modules::default()).rules;
    let writable: Vec<_> = rules
        .iter()
        .filter(|rule| rule.access.intersects(Access::WRITE))
        .map(|rule| rule.path.to_str().unwrap())
        .collect();
    assert_eq!(writable, ["/d", "/d/gen", "/data"]);
    assert!(
        !rules
            .iter()
            .any(|rule| rule.access.contains(Access::EXECUTE))
    );
    assert!(
        !rules
            .iter()
            .any(|rule| rule.access.contains(Access::MAKE_SYM))
    );
}
