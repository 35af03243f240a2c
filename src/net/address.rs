//! Distinguishes public internet addresses from all others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Purpose of an address that is not a public internet address, by IANA's registries of special-purpose addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecialPurpose {
    /// Loopback.
    #[error("is one of this host")]
    ThisHost,
    /// RFC 1918, unique local addresses, and the address space that providers share (RFC 6598).
    #[error("lies in a private network")]
    Private,
    /// Not routed beyond one link.
    #[error("is a link-local one, of this network alone")]
    LinkLocal,
    /// RFC 5737, 3849 and 9637.
    #[error("is reserved for documentation")]
    Documentation,
    /// RFC 2544 and 5180.
    #[error("is reserved for benchmarks")]
    Benchmark,
    /// Address of a group.
    #[error("is a multicast one, not of one host")]
    Multicast,
    /// Protocol assignments, and addresses that lead into an IPv4 network by a relay: 6to4, Teredo.
    #[error("is reserved for protocols")]
    Protocol,
    /// This network, class E, broadcast, and unallocated ranges.
    #[error("is reserved: no host has it")]
    Reserved,
}

impl SpecialPurpose {
    /// True if a host near this one may have such an address.
    pub fn is_near(self) -> bool {
        matches!(self, Self::ThisHost | Self::Private | Self::LinkLocal)
    }
}

/// Returns the special purpose of an address; `None` if it can belong to a host on the internet. An IPv6 address that
/// stands for an IPv4 one (mapped, behind NAT64, ISATAP) is judged by the latter.
pub fn special_purpose(address: IpAddr) -> Option<SpecialPurpose> {
    match address {
        IpAddr::V4(v4) => purpose_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| behind_nat64(v6)) {
            Some(v4) => purpose_v4(v4),
            None => purpose_v6(v6),
        },
    }
}

fn purpose_v4(address: Ipv4Addr) -> Option<SpecialPurpose> {
    let [a, b, c, _] = address.octets();
    Some(match (a, b, c) {
        _ if address.is_loopback() => SpecialPurpose::ThisHost,
        _ if address.is_private() => SpecialPurpose::Private,
        (100, 64..=127, _) => SpecialPurpose::Private,
        _ if address.is_link_local() => SpecialPurpose::LinkLocal,
        _ if address.is_documentation() => SpecialPurpose::Documentation,
        (198, 18 | 19, _) => SpecialPurpose::Benchmark,
        // Protocol assignments, the relays of 6to4 (RFC 6890, 7526).
        (192, 0, 0) | (192, 88, 99) => SpecialPurpose::Protocol,
        (224..=239, ..) => SpecialPurpose::Multicast,
        // This network (RFC 791); class E and broadcast.
        (0 | 240.., ..) => SpecialPurpose::Reserved,
        _ => return None,
    })
}

fn purpose_v6(address: Ipv6Addr) -> Option<SpecialPurpose> {
    let [a, b, c, ..] = address.segments();
    Some(match (a, b) {
        _ if address.is_loopback() => SpecialPurpose::ThisHost,
        _ if address.is_unique_local() => SpecialPurpose::Private,
        _ if address.is_unicast_link_local() => SpecialPurpose::LinkLocal,
        _ if address.is_multicast() => SpecialPurpose::Multicast,
        (0x2001, 0x0DB8) | (0x3FFF, ..0x1000) => SpecialPurpose::Documentation,
        (0x2001, 0x0002) if c == 0 => SpecialPurpose::Benchmark,
        // Protocol assignments with Teredo (2001::/23), and 6to4, whose relays lead into IPv4 networks.
        (0x2001, ..0x0200) | (0x2002, _) => SpecialPurpose::Protocol,
        // Only 2000::/3 is allocated.
        _ if a & 0xE000 != 0x2000 => SpecialPurpose::Reserved,
        _ => return behind_isatap(address).and_then(purpose_v4),
    })
}

/// Returns the IPv4 address to which a translating gateway sends `64:ff9b::/96` (RFC 6052).
fn behind_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xFF9B, 0, 0, 0, 0, high, low] = address.segments() else {
        return None;
    };
    Some(joined(high, low))
}

/// Returns the IPv4 address to which an ISATAP interface sends `…:0:5efe:a.b.c.d` (RFC 5214).
fn behind_isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, 0 | 0x0200, 0x5EFE, high, low] = address.segments() else {
        return None;
    };
    Some(joined(high, low))
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First and last address of each special range, and their neighbours.
    const CASES: &[(&str, bool)] = &[
        ("0.0.0.0", false),
        ("0.255.255.255", false),
        ("1.0.0.0", true),
        ("1.1.1.1", true),
        ("9.255.255.255", true),
        ("10.0.0.0", false),
        ("10.255.255.255", false),
        ("11.0.0.0", true),
        ("100.63.255.255", true),
        ("100.64.0.0", false),
        ("100.127.255.255", false),
        ("100.128.0.0", true),
        ("126.255.255.255", true),
        ("127.0.0.1", false),
        ("127.255.255.255", false),
        ("128.0.0.0", true),
        ("162.159.128.233", true),
        ("169.253.255.255", true),
        ("169.254.169.254", false),
        ("169.255.0.0", true),
        ("172.15.255.255", true),
        ("172.16.0.0", false),
        ("172.31.255.255", false),
        ("172.32.0.1", true),
        ("191.255.255.255", true),
        ("192.0.0.8", false),
        ("192.0.1.0", true),
        ("192.0.2.1", false),
        ("192.0.3.0", true),
        ("192.88.98.255", true),
        ("192.88.99.1", false),
        ("192.167.255.255", true),
        ("192.168.0.1", false),
        ("192.169.0.0", true),
        ("198.17.255.255", true),
        ("198.18.0.0", false),
        ("198.19.255.255", false),
        ("198.20.0.0", true),
        ("198.51.100.7", false),
        ("203.0.113.7", false),
        ("203.0.114.0", true),
        ("223.255.255.255", true),
        ("224.0.0.1", false),
        ("239.255.255.250", false),
        ("240.0.0.1", false),
        ("255.255.255.255", false),
        ("::", false),
        ("::1", false),
        ("::7f00:1", false),
        ("::1.1.1.1", false),
        ("::ffff:10.0.0.1", false),
        ("::ffff:127.0.0.1", false),
        ("::ffff:1.1.1.1", true),
        ("::ffff:0:127.0.0.1", false),
        ("::ffff:0:1.1.1.1", false),
        ("64:ff9b::a00:1", false),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b::a29f:80e9", true),
        ("64:ff9b:1::a29f:80e9", false),
        ("100::1", false),
        ("1fff:ffff::1", false),
        ("2001::1", false),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
        ("2001:2::1", false),
        ("2001:10::1", false),
        ("2001:1ff::1", false),
        ("2001:200::1", true),
        ("2001:4860:4860::8888", true),
        ("2001:db8::1", false),
        ("2001:db7:ffff::1", true),
        ("2002:7f00:1::1", false),
        ("2002:101:101::1", false),
        ("2003::1", true),
        ("2606:4700::1111", true),
        ("2606:4700::5efe:10.0.0.1", false),
        ("2606:4700::200:5efe:127.0.0.1", false),
        ("2606:4700::5efe:1.1.1.1", true),
        ("3ffe:ffff::1", true),
        ("3fff::1", false),
        ("3fff:fff::1", false),
        ("3fff:1000::1", true),
        ("4000::1", false),
        ("5f00::1", false),
        ("fc00::1", false),
        ("fd00::1", false),
        ("fe80::1", false),
        ("febf::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
    ];

    #[test]
    fn what_is_special_is_not_of_the_internet() {
        assert!(CASES.len() >= 60);
        for (text, expected) in CASES {
            let found = special_purpose(text.parse().unwrap());
            assert_eq!(found.is_none(), *expected, "{text}: {found:?}");
        }
    }

    #[test]
    fn what_a_special_address_is_for_is_told() {
        for (text, expected) in [
            ("127.0.0.1", "is one of this host"),
            ("::ffff:127.0.0.1", "is one of this host"),
            ("::1", "is one of this host"),
            ("10.1.2.3", "lies in a private network"),
            ("100.64.0.1", "lies in a private network"),
            ("64:ff9b::a00:1", "lies in a private network"),
            ("fd00::1", "lies in a private network"),
            (
                "169.254.169.254",
                "is a link-local one, of this network alone",
            ),
            ("fe80::1", "is a link-local one, of this network alone"),
            ("192.0.2.1", "is reserved for documentation"),
            ("198.51.100.7", "is reserved for documentation"),
            ("2001:db8::1", "is reserved for documentation"),
            ("3fff::1", "is reserved for documentation"),
            ("198.18.0.1", "is reserved for benchmarks"),
            ("2001:2::1", "is reserved for benchmarks"),
            ("224.0.0.1", "is a multicast one, not of one host"),
            ("ff02::1", "is a multicast one, not of one host"),
            ("192.0.0.8", "is reserved for protocols"),
            ("2002:101:101::1", "is reserved for protocols"),
            ("0.0.0.0", "is reserved: no host has it"),
            ("240.0.0.1", "is reserved: no host has it"),
            ("255.255.255.255", "is reserved: no host has it"),
            ("4000::1", "is reserved: no host has it"),
        ] {
            let found = special_purpose(text.parse().unwrap()).unwrap();
            assert_eq!(found.to_string(), expected, "{text}");
        }
    }
}
