//! Which server is tried first: SRV records in their order, addresses of both families, and what is no server's address
//! (RFC 2782, RFC 6120 §3.2, XEP-0368 §3, RFC 8305, security row S37).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a SRV record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    /// The name of the machine; `.` when the service is not there.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether the record was one of `_xmpps-server`.
    pub(crate) direct_tls: bool,
    /// Whether signatures prove it (DNSSEC).
    pub(crate) is_signed: bool,
}

impl Target {
    /// Whether it says that there is no such service (RFC 2782).
    pub(crate) fn is_denial(&self) -> bool {
        self.host == "."
    }
}

/// Puts targets of both services into one order: by priority, among equals at random by weight (RFC 2782, XEP-0368 §3).
/// `draw` gives a number from 0 to its argument.
pub(crate) fn in_order(mut left: Vec<Target>, mut draw: impl FnMut(u32) -> u32) -> Vec<Target> {
    // Those of weight 0 first, so that they are drawn only when nothing else was.
    left.sort_by_key(|target| (target.priority, target.weight));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let equals = left.iter().take_while(|target| target.priority == first.priority).count();
        let sum = left[..equals].iter().map(|target| u32::from(target.weight)).sum();
        let drawn = draw(sum);
        let mut so_far = 0;
        let chosen = left[..equals].iter().position(|target| {
            so_far += u32::from(target.weight);
            so_far >= drawn
        });
        ordered.push(left.remove(chosen.unwrap_or(equals - 1)));
    }
    ordered
}

/// Alternates between the families, IPv6 first (RFC 8305 §4), at most `most` addresses.
pub(crate) fn alternating(addresses: impl IntoIterator<Item = IpAddr>, most: usize) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair.iter().all(Option::is_none) {
            mixed.truncate(most);
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// Whether an address is one of the public network: not of this machine, of a private or a local network, or of none.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_special =
        first == 0 || first >= 240 || (first == 198 && (second & !1) == 18) || [first, second, third] == [192, 0, 0];
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || is_shared
        || is_special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // NAT64 and 6to4 carry an IPv4 address, which must be public itself.
    let carried = match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some([high, low]),
        [0x2002, high, low, ..] => Some([high, low]),
        _ => None,
    };
    if let Some([high, low]) = carried {
        return is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    }
    // Only 2000::/3 is given out.
    segments[0] & 0xe000 == 0x2000
}

/// Whether a server may be at this port: no other well-known service is made to talk to us.
pub(crate) fn is_fit_for_a_server(port: u16) -> bool {
    port == 443 || port >= 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, host: &str, direct_tls: bool) -> Target {
        Target { priority, weight, host: host.to_owned(), port: 5269, direct_tls, is_signed: false }
    }

    fn names(targets: &[Target]) -> String {
        targets.iter().map(|target| target.host.as_str()).collect()
    }

    #[test]
    fn both_services_are_one_order_of_priorities() {
        let targets = vec![
            target(20, 0, "d", false),
            target(5, 0, "a", true),
            target(10, 0, "c", true),
            target(5, 0, "b", false),
        ];
        let ordered = in_order(targets, |_| 0);
        assert!(matches!(names(&ordered).as_str(), "abcd" | "bacd"), "{ordered:?}");
    }

    #[test]
    fn weights_are_chances() {
        let mut first = [0u32; 3];
        let mut state = 1u32;
        for _ in 0..10_000 {
            let targets = vec![target(1, 0, "0", false), target(1, 10, "1", false), target(1, 90, "2", false)];
            let ordered = in_order(targets, |sum| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) % (sum + 1)
            });
            assert_eq!(ordered.len(), 3);
            first[ordered[0].host.parse::<usize>().unwrap()] += 1;
        }
        assert!(first[0] < 300 && (700..1_300).contains(&first[1]) && first[2] > 8_500, "{first:?}");
    }

    #[test]
    fn families_alternate_with_ipv6_first() {
        let list: Vec<IpAddr> =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"].iter().map(|text| text.parse().unwrap()).collect();
        let mixed: Vec<String> = alternating(list, 3).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
    }

    #[test]
    fn s37_addresses_inside_are_not_public() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "::7f00:1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
        assert!(is_fit_for_a_server(5269) && is_fit_for_a_server(443));
        assert!(!is_fit_for_a_server(25) && !is_fit_for_a_server(22));
    }
}
