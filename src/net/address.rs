//! Distinguishes public internet addresses from all others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True if the address can belong to a host on the internet, by IANA's registries of special-purpose addresses.
/// Addresses of this host, of private networks, for documentation and reserved ones do not qualify. An IPv6 address
/// that stands for an IPv4 one (mapped, behind NAT64, ISATAP) is judged by the latter.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| behind_nat64(v6)) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This network (RFC 791), shared address space (RFC 6598).
        (0, ..) | (100, 64..=127, _) => true,
        // Protocol assignments, the relays of 6to4, benchmarking (RFC 6890, 7526, 2544).
        (192, 0, 0) | (192, 88, 99) | (198, 18 | 19, _) => true,
        // Multicast, reserved, broadcast.
        (224.., ..) => true,
        _ => false,
    };
    !(is_special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is allocated. Of it, protocol assignments with Teredo (2001::/23), documentation, and 6to4, whose
    // relays lead into IPv4 networks, do not count as public.
    let is_given_out = a & 0xE000 == 0x2000;
    let is_special = match a {
        0x2001 => b < 0x0200 || b == 0x0DB8,
        0x2002 => true,
        0x3FFF => b < 0x1000,
        _ => false,
    };
    is_given_out && !is_special && behind_isatap(address).is_none_or(is_public_v4)
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
            assert_eq!(is_public(text.parse().unwrap()), *expected, "{text}");
        }
    }
}
