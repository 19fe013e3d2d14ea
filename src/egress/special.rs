// SPDX-License-Identifier: MIT
//! Which kind of place an address is: the public network, this machine, a private one, a cloud's
//! own services.
//!
//! Invariant: an IPv6 address that carries an IPv4 address is never `Public`, and needs a rule
//! of its own when the address it carries does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of an address, by the IANA special purpose registries (RFC 6890 and its updates).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// Anything not below.
    Public,
    /// `0.0.0.0`, `::`; as a destination Linux takes them for this machine.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918, and the benchmarking network `198.18.0.0/15` that transparent proxies hand out.
    Private,
    /// `100.64.0.0/10`.
    CarrierGrade,
    /// `fc00::/7` and the former site-local `fec0::/10`.
    UniqueLocal,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// Where clouds serve credentials and instance data.
    Metadata,
    /// IPv4 in IPv6 dress, `::ffff:0:0/96`.
    Mapped,
    /// IPv4 behind a translator or tunnel: NAT64, 6to4, Teredo, `::a.b.c.d`.
    Translated,
    /// `224.0.0.0/4`, `ff00::/8` and the broadcast address.
    Multicast,
    /// Documentation, `0.0.0.0/8`, `240.0.0.0/4` and other blocks nobody should answer from.
    Reserved,
}

impl AddressClass {
    /// Whether a name may lead here without anybody having said so.
    pub fn open_to_names(self) -> bool {
        self == Self::Public
    }

    /// Whether no name may ever lead here, only a rule with the address itself.
    pub fn needs_address_rule(self) -> bool {
        matches!(self, Self::LinkLocal | Self::Metadata | Self::Multicast)
    }

    /// The kind in words, with its article: `a loopback address`.
    pub fn description(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::CarrierGrade => "a carrier-grade NAT address",
            Self::UniqueLocal => "a unique local address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud metadata address",
            Self::Mapped => "an IPv4 address mapped into IPv6",
            Self::Translated => "an IPv4 address behind a translator",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        }
    }
}

/// Clouds' metadata and host services outside the link-local networks, and those inside that are
/// better called by their name. AWS and most others: 169.254.169.254 and fd00:ec2::254; its
/// container credentials: 169.254.170.2, 169.254.170.23, fd00:ec2::23; Google over IPv6:
/// fd20:ce::254; Azure's host channel: 168.63.129.16; Alibaba: 100.100.100.200; Oracle:
/// 192.0.0.192; Scaleway: 169.254.42.42, fd00:42::42.
const METADATA_V4: [Ipv4Addr; 7] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042),
];

/// The kind of `address`, as written: a v4-mapped one is [`AddressClass::Mapped`] and not what it
/// maps, unless that is worse.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&address) {
        return AddressClass::Metadata;
    }
    if address.is_broadcast() || address.is_multicast() {
        return AddressClass::Multicast;
    }
    match address.octets() {
        [0, 0, 0, 0] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [198, 18 | 19, ..] => {
            AddressClass::Private
        }
        [100, 64..=127, ..] => AddressClass::CarrierGrade,
        [169, 254, ..] => AddressClass::LinkLocal,
        [0 | 240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&address) {
        return AddressClass::Metadata;
    }
    if address.is_unspecified() {
        return AddressClass::Unspecified;
    }
    if address.is_loopback() {
        return AddressClass::Loopback;
    }
    let carried = embedded(IpAddr::V6(address));
    if !carried.is_empty() {
        let worse = |class: &AddressClass| class.needs_address_rule();
        let itself = if address.to_ipv4_mapped().is_some() {
            AddressClass::Mapped
        } else {
            AddressClass::Translated
        };
        return carried
            .into_iter()
            .map(classify_v4)
            .find(worse)
            .unwrap_or(itself);
    }
    match address.segments() {
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => AddressClass::UniqueLocal,
        // Global unicast is 2000::/3; inside it 2001::/23 (protocol assignments), 2001:db8::/32
        // and 3fff::/20 (documentation) are nobody's.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

/// Where a connection to `address` really goes, by Linux: a v4-mapped address to the IPv4 address,
/// the unspecified ones to this machine (`ip_route_output_key_hash_rcu` and `tcp_v6_connect`).
pub fn canonical(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    }
}

/// The IPv4 addresses `address` may end at behind a translator or tunnel; none for most. Several
/// where the position depends on a prefix length only the network knows.
pub fn embedded(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return Vec::new();
    };
    if address.is_unspecified() || address.is_loopback() {
        return Vec::new();
    }
    let segments = address.segments();
    let octets = address.octets();
    let at = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // ::a.b.c.d, ::ffff:a.b.c.d, ::ffff:0:a.b.c.d (RFC 2765), 64:ff9b::a.b.c.d
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => vec![at(high, low)],
        // RFC 8215 leaves the prefix length to the network: RFC 6052's /96, /48, /56 and /64.
        [0x0064, 0xff9b, 1, third, _, _, high, low] => {
            let [.., _, _, o9, o10, o11, o12, _, _, _] = octets;
            let [a, b] = third.to_be_bytes();
            vec![
                at(high, low),
                Ipv4Addr::new(a, b, o9, o10),
                Ipv4Addr::new(b, o9, o10, o11),
                Ipv4Addr::new(o9, o10, o11, o12),
            ]
        }
        // 6to4
        [0x2002, high, low, ..] => vec![at(high, low)],
        // Teredo: the server, and the client with every bit turned.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            vec![at(!high, !low), at(server_high, server_low)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> AddressClass {
        classify(text.parse().unwrap())
    }

    #[test]
    fn addresses_have_a_class() {
        use AddressClass as C;
        for (text, class) in [
            ("93.184.216.34", C::Public),
            ("2606:4700::1111", C::Public),
            ("100.63.255.255", C::Public),
            ("172.32.0.1", C::Public),
            ("0.0.0.0", C::Unspecified),
            ("::", C::Unspecified),
            ("127.0.0.1", C::Loopback),
            ("127.255.0.9", C::Loopback),
            ("::1", C::Loopback),
            ("10.0.0.1", C::Private),
            ("172.16.0.1", C::Private),
            ("172.31.255.255", C::Private),
            ("192.168.1.1", C::Private),
            ("198.19.0.1", C::Private),
            ("100.64.0.1", C::CarrierGrade),
            ("100.127.255.255", C::CarrierGrade),
            ("100.100.100.200", C::Metadata),
            ("169.254.0.1", C::LinkLocal),
            ("169.254.169.254", C::Metadata),
            ("169.254.170.2", C::Metadata),
            ("168.63.129.16", C::Metadata),
            ("fd00:ec2::254", C::Metadata),
            ("fd00:ec2::255", C::UniqueLocal),
            ("fc00::1", C::UniqueLocal),
            ("fec0::1", C::UniqueLocal),
            ("fe80::1", C::LinkLocal),
            ("ff02::1", C::Multicast),
            ("224.0.0.1", C::Multicast),
            ("255.255.255.255", C::Multicast),
            ("0.1.2.3", C::Reserved),
            ("240.0.0.1", C::Reserved),
            ("192.0.2.1", C::Reserved),
            ("2001:db8::1", C::Reserved),
            ("4000::1", C::Reserved),
            ("::ffff:93.184.216.34", C::Mapped),
            ("::ffff:127.0.0.1", C::Mapped),
            ("::ffff:169.254.169.254", C::Metadata),
            ("::127.0.0.1", C::Translated),
            ("64:ff9b::5db8:d822", C::Translated),
            ("64:ff9b::a9fe:a9fe", C::Metadata),
            ("64:ff9b:1::a9fe:a9fe", C::Metadata),
            // RFC 6052 /48: the address at octets 6, 7, 9 and 10.
            ("64:ff9b:1:a9fe:a9:fe00::", C::Metadata),
            ("2002:a9fe:0102::1", C::LinkLocal),
            ("2002:5db8:d822::1", C::Translated),
            // Teredo, client 169.254.169.254.
            ("2001:0:5db8:d822::5601:5601", C::Metadata),
            ("2001:0:5db8:d822::1", C::Translated),
        ] {
            assert_eq!(of(text), class, "{text}");
        }
    }

    #[test]
    fn destinations_are_where_linux_goes() {
        for (text, really) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
            ("::ffff:0.0.0.0", "127.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::10.0.0.1", "::10.0.0.1"),
            ("0.0.0.1", "0.0.0.1"),
            ("2606:4700::1111", "2606:4700::1111"),
        ] {
            let address = canonical(text.parse().unwrap());
            assert_eq!(address, really.parse::<IpAddr>().unwrap(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn carriers_of_special_addresses_are_special(bits in any::<u32>()) {
            let inner = Ipv4Addr::from(bits);
            let [a, b, c, d] = inner.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for carrier in [
                inner.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
            ] {
                let class = classify(IpAddr::V6(carrier));
                prop_assert!(!class.open_to_names(), "{carrier} {class:?}");
                let of_inner = classify(IpAddr::V4(inner));
                if of_inner.needs_address_rule() {
                    prop_assert!(class.needs_address_rule(), "{carrier} {class:?}");
                }
            }
        }

        #[test]
        fn a_canonical_address_stays(address in any::<IpAddr>()) {
            prop_assert_eq!(canonical(canonical(address)), canonical(address));
        }
    }
}
