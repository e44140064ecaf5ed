//! Where webhooks may go: to the public internet, and to the address ranges that the operator has opened.
//!
//! A webhook is somebody's wish, and this function stands inside somebody's network. Literal addresses are checked
//! when the URL has been parsed (which turns `0x7f.1` into what it is), names in the resolver, so that no second look-up can
//! answer differently.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use crate::failure::Failure;

#[derive(Clone, Debug, Default)]
pub(crate) struct Boundary {
    /// Ranges that are open although they are not public.
    pub(crate) allowed: Vec<IpNet>,
    pub(crate) http: bool,
}

impl Boundary {
    /// Refuses what the URL alone shows to be out of bounds.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Failure> {
        match url.scheme() {
            "https" => {}
            "http" if self.http => {}
            _ => return Err(Failure::Scheme),
        }
        let literal: IpAddr = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(Failure::Url),
        };
        if self.permits(literal) { Ok(()) } else { Err(Failure::Forbidden) }
    }

    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical(); // ::ffff:127.0.0.1 reaches 127.0.0.1.
        is_global(address) || self.allowed.iter().any(|range| range.contains(&address))
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IANA's special-purpose registry for IPv4, and multicast.
const NOT_GLOBAL_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),          // "this network"
    v4(10, 0, 0, 0, 8),         // private
    v4(100, 64, 0, 0, 10),      // shared by carriers
    v4(127, 0, 0, 0, 8),        // loopback
    v4(169, 254, 0, 0, 16),     // link-local, and the cloud's metadata service
    v4(172, 16, 0, 0, 12),      // private
    v4(192, 0, 0, 0, 24),       // protocol assignments
    v4(192, 0, 2, 0, 24),       // documentation
    v4(192, 88, 99, 0, 24),     // 6to4 relays, given up
    v4(192, 168, 0, 0, 16),     // private
    v4(198, 18, 0, 0, 15),      // benchmarks
    v4(198, 51, 100, 0, 24),    // documentation
    v4(203, 0, 113, 0, 24),     // documentation
    v4(224, 0, 0, 0, 4),        // multicast
    v4(240, 0, 0, 0, 4),        // reserved
    v4(255, 255, 255, 255, 32), // broadcast
];

/// All that has been handed out for global unicast. Loopback, unique local, link-local, site-local, multicast, the discard
/// prefix, mapped and compatible IPv4 addresses lie outside of it.
const GLOBAL_UNICAST_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Special purposes inside of global unicast.
const NOT_GLOBAL_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments: Teredo, benchmarks, ORCHID …
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),     // 6to4, which reaches any IPv4 address
    v6(0x3fff, 0, 0, 20),     // documentation
];

/// Translated IPv4. A network with NAT64 answers every IPv4-only name with it.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_global_v4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(address) => {
            GLOBAL_UNICAST_V6.contains(&address) && !NOT_GLOBAL_V6.iter().any(|range| range.contains(&address))
        }
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !NOT_GLOBAL_V4.iter().any(|range| range.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(address: &str) -> bool {
        Boundary::default().permits(address.parse().unwrap_or_else(|_| panic!("`{address}` is no address")))
    }

    #[test]
    fn public_addresses_are_global() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "52.94.236.248",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450:4001:80b::200e",
            "3ffe::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(global(address), "{address}");
        }
    }

    #[test]
    fn special_addresses_are_not() {
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:0:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!global(address), "{address}");
        }
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|_| panic!("`{text}` is no URL"))
    }

    #[test]
    fn literals_are_seen_through_their_disguises() {
        let boundary = Boundary { allowed: Vec::new(), http: true };
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://①②⑦.⓪.⓪.①/",
            "http://user:password@10.0.0.1:8080/path",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "https://169.254.169.254/latest/meta-data/",
        ] {
            assert_eq!(boundary.check(&url(text)), Err(Failure::Forbidden), "{text}");
        }
        assert_eq!(boundary.check(&url("http://1.1.1.1/")), Ok(()));
        // A name is looked up later, and its addresses are checked then.
        assert_eq!(boundary.check(&url("http://localhost/")), Ok(()));
    }

    #[test]
    fn opened_ranges_are_open_and_no_wider() {
        let ranges = ["127.0.0.1/32", "fd00::/8"].map(|range| range.parse().expect("a range"));
        let boundary = Boundary { allowed: ranges.to_vec(), http: true };
        assert_eq!(boundary.check(&url("http://127.0.0.1:8080/")), Ok(()));
        assert_eq!(boundary.check(&url("http://[::ffff:127.0.0.1]/")), Ok(()));
        assert_eq!(boundary.check(&url("http://[fd12::1]/")), Ok(()));
        assert_eq!(boundary.check(&url("http://127.0.0.2/")), Err(Failure::Forbidden));
        assert_eq!(boundary.check(&url("http://[fc00::1]/")), Err(Failure::Forbidden));
    }

    #[test]
    fn only_https_unless_http_is_opened() {
        let (closed, open) = (Boundary::default(), Boundary { allowed: Vec::new(), http: true });
        assert_eq!(closed.check(&url("https://example.com/")), Ok(()));
        assert_eq!(closed.check(&url("http://example.com/")), Err(Failure::Scheme));
        assert_eq!(open.check(&url("http://example.com/")), Ok(()));
        for text in ["ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1/", "unix:/run/socket"] {
            assert_eq!(open.check(&url(text)), Err(Failure::Scheme), "{text}");
        }
    }
}
