// SPDX-License-Identifier: MIT
//! Any text as a net rule, and any name and address held to it: it is read or refused, what is
//! refused can be said in words, what is read says the same once it is written out, and it grants and
//! denies exactly what a plain reading of it says.
#![no_main]

use std::net::IpAddr;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use stockade::egress::names::NameBook;
use stockade::egress::rules::{Asked, Decision, NameVerdict, Operation, Rules};
use stockade::plan::{NetRule, NetRules, Verify};
use stockade::policy::grammar::parse_net;
use stockade::policy::{Host, NetDescriptor, Origin};

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (rule, name) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let address: Option<IpAddr> = lines.next().and_then(|line| line.parse().ok());
    let descriptor = match parse_net(rule) {
        Ok(descriptor) => descriptor,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let _ = error.hint();
            return;
        }
    };
    let written = descriptor.to_string();
    assert_eq!(parse_net(&written).as_ref(), Ok(&descriptor), "{written}");

    let list = vec![NetRule {
        host: descriptor.host.clone(),
        port: descriptor.port,
        verify: Verify::Nothing,
        origin: Origin::flag("--allow-net", None),
    }];
    let allowing = Rules::new(&NetRules {
        allow: list.clone(),
        ..NetRules::default()
    });
    let denying = Rules::new(&NetRules {
        all: Some(Origin::flag("--allow-net", None)),
        deny: list,
        ..NetRules::default()
    });
    let port = descriptor.port.unwrap_or(443);

    let named = covers_name(&descriptor, name);
    assert_eq!(allowing.name(name) == NameVerdict::Granted, named, "{name}");
    let denied = named && descriptor.port.is_none();
    assert_eq!(denying.name(name) != NameVerdict::Granted, denied, "{name}");

    if let Some(address) = address {
        let covered = covers_address(&descriptor, address);
        let asked = |port| Asked {
            operation: Operation::Listen,
            address,
            port,
        };
        let book = NameBook::new();
        let decide = |rules: &Rules, port| rules.decide(&asked(port), &book, Instant::now());
        let granted = matches!(decide(&allowing, port), Decision::Direct { .. });
        assert_eq!(granted, covered, "{address}");
        if covered {
            assert!(matches!(decide(&denying, port), Decision::Denied(_)));
        }
        if descriptor.port.is_some() {
            let other = port.wrapping_add(1);
            assert!(matches!(decide(&allowing, other), Decision::Denied(_)));
            assert!(!matches!(decide(&denying, other), Decision::Denied(_)));
        }
    }
});

fn covers_name(descriptor: &NetDescriptor, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match &descriptor.host {
        Host::Name(own) => *own == name,
        Host::Wildcard(parent) => {
            let above = name.strip_suffix(parent.as_str());
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        }
        Host::ThisMachine => name == "localhost",
        _ => false,
    }
}

fn covers_address(descriptor: &NetDescriptor, address: IpAddr) -> bool {
    let address = address.to_canonical();
    match &descriptor.host {
        Host::Address(own) => own.to_canonical() == address,
        Host::Subnet(subnet) => subnet.contains(&address),
        Host::ThisMachine => ["127.0.0.1", "0.0.0.0"]
            .iter()
            .any(|own| own.parse() == Ok(address)),
        _ => false,
    }
}
