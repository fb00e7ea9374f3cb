//! Proxies in front of the server: what they say about the client, and whether it is believed (RFC 7239, PROXY protocol 2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderMap};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use waxwing_core::config::{ForwardedHeader, Web};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The client.
    pub(crate) address: IpAddr,
    /// Whether the client speaks TLS, with us or with a listed proxy.
    pub(crate) is_encrypted: bool,
    /// Whether somebody stands between who is not listed, so that nothing is known of the client.
    pub(crate) is_hidden: bool,
}

/// Where a request comes from that came over a connection with this peer.
pub(crate) fn source(headers: &HeaderMap, peer: IpAddr, is_encrypted: bool, settings: &Web) -> Source {
    let peer = peer.to_canonical();
    if !settings.trusted_proxies.contain(peer) {
        let is_hidden = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
        return Source { address: peer, is_encrypted, is_hidden };
    }
    let hops = match settings.forwarded_header {
        ForwardedHeader::XForwardedFor => x_forwarded(headers),
        ForwardedHeader::Forwarded => forwarded(headers),
    };
    // The nearest proxy writes last: from the end, everyone who is listed tells of the one before.
    let mut source = Source { address: peer, is_encrypted, is_hidden: true };
    for hop in hops.into_iter().rev() {
        let Some(address) = hop.address else { break };
        source = Source { address, is_encrypted: hop.is_encrypted, is_hidden: false };
        if !settings.trusted_proxies.contain(address) {
            break;
        }
    }
    source
}

/// What one proxy says.
struct Hop {
    address: Option<IpAddr>,
    is_encrypted: bool,
}

fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    // One word for the whole way; where there are several, the nearest proxy's is the last.
    let is_encrypted = values(headers, X_FORWARDED_PROTO).last().is_some_and(|scheme| is_tls(scheme));
    let addresses = values(headers, X_FORWARDED_FOR).into_iter();
    addresses.map(|text| Hop { address: node(&text), is_encrypted }).collect()
}

fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let elements = values(headers, FORWARDED.as_str()).into_iter();
    elements
        .map(|element| {
            let mut hop = Hop { address: None, is_encrypted: false };
            for (name, value) in element.split(';').filter_map(|pair| pair.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim() {
                    name if name.eq_ignore_ascii_case("for") => hop.address = node(value),
                    name if name.eq_ignore_ascii_case("proto") => hop.is_encrypted = is_tls(value),
                    _ => {}
                }
            }
            hop
        })
        .collect()
}

fn is_tls(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
}

/// All values of a header, those in one line and those in several; a header that is no text says nothing.
fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    lines.flat_map(|line| line.split(',')).map(|value| value.trim().to_owned()).collect()
}

/// An address, with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn node(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let address = text.parse::<IpAddr>().ok().or_else(bare);
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

/// The first bytes of the PROXY protocol, version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header we read, in bytes after the first sixteen; addresses take 36, the rest are extensions.
const MOST_EXTENSIONS: usize = 2048;

/// Reads the header of the PROXY protocol that a listed proxy begins with: the client it speaks for, or the proxy itself
/// when it checks whether we are there. Has no end of its own: bound it with a timeout.
///
/// # Errors
/// When it is none; the connection is of no use then.
pub(crate) async fn read_header(socket: &mut TcpStream, proxy: SocketAddr) -> io::Result<SocketAddr> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "this is not the PROXY protocol, version 2");
    let mut fixed = [0; 16];
    socket.read_exact(&mut fixed).await?;
    if fixed[..12] != SIGNATURE {
        return Err(bad());
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MOST_EXTENSIONS {
        return Err(bad());
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await?;
    client(fixed[12], fixed[13], &rest, proxy).ok_or_else(bad)
}

/// Whom a header speaks for.
fn client(version_and_command: u8, family: u8, rest: &[u8], proxy: SocketAddr) -> Option<SocketAddr> {
    match version_and_command {
        0x20 => Some(proxy),
        0x21 => match family {
            0x11 => {
                let (address, port) = (rest.get(..4)?, rest.get(8..10)?);
                let address: [u8; 4] = address.try_into().ok()?;
                Some((Ipv4Addr::from(address), u16::from_be_bytes([port[0], port[1]])).into())
            }
            0x21 => {
                let (address, port) = (rest.get(..16)?, rest.get(32..34)?);
                let address: [u8; 16] = address.try_into().ok()?;
                Some((Ipv6Addr::from(address), u16::from_be_bytes([port[0], port[1]])).into())
            }
            // Neither TCP over IPv4 nor over IPv6: the proxy's own address stands.
            _ => Some(proxy),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(header: ForwardedHeader) -> Web {
        let text = r#"{"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}"#;
        Web { forwarded_header: header, ..serde_json::from_str(text).unwrap() }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_listed_proxies_are_believed() {
        let said = headers(&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")]);
        let settings = settings(ForwardedHeader::XForwardedFor);
        let stranger = source(&said, ip("198.51.100.7"), false, &settings);
        assert_eq!(stranger, Source { address: ip("198.51.100.7"), is_encrypted: false, is_hidden: true });
        let listed = source(&said, ip("::ffff:127.0.0.1"), false, &settings);
        assert_eq!(listed, Source { address: ip("192.0.2.1"), is_encrypted: true, is_hidden: false });
        let plain = source(&HeaderMap::new(), ip("127.0.0.2"), false, &settings);
        assert_eq!(plain, Source { address: ip("127.0.0.2"), is_encrypted: false, is_hidden: false });
        // A listed proxy that says nothing hides its client.
        assert!(source(&HeaderMap::new(), ip("127.0.0.1"), true, &settings).is_hidden);
    }

    #[test]
    fn what_a_client_writes_before_the_proxy_does_is_not_believed() {
        let said = headers(&[("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.5"), ("x-forwarded-proto", "https")]);
        let settings = settings(ForwardedHeader::XForwardedFor);
        assert_eq!(source(&said, ip("127.0.0.1"), false, &settings).address, ip("192.0.2.1"));
        let said = headers(&[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "192.0.2.1")]);
        assert_eq!(source(&said, ip("127.0.0.1"), false, &settings).address, ip("192.0.2.1"));
        let said = headers(&[("x-forwarded-for", "203.0.113.9, rubbish")]);
        assert!(source(&said, ip("127.0.0.1"), false, &settings).is_hidden);
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let settings = settings(ForwardedHeader::Forwarded);
        for (line, address, is_encrypted) in [
            ("for=192.0.2.43", "192.0.2.43", false),
            ("For=\"[2001:db8:cafe::17]:4711\";proto=https;by=203.0.113.43", "2001:db8:cafe::17", true),
            ("for=198.51.100.1;proto=https, for=192.0.2.43;proto=http", "192.0.2.43", false),
        ] {
            let found = source(&headers(&[("forwarded", line)]), ip("127.0.0.1"), false, &settings);
            assert_eq!(found, Source { address: ip(address), is_encrypted, is_hidden: false }, "{line}");
        }
        for line in ["for=unknown", "for=_gazonk", "proto=https", ""] {
            assert!(source(&headers(&[("forwarded", line)]), ip("127.0.0.1"), false, &settings).is_hidden, "{line}");
        }
    }

    #[test]
    fn a_proxy_header_names_its_client() {
        let proxy: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let four = [192, 0, 2, 1, 127, 0, 0, 1, 0x1f, 0x90, 0, 80];
        assert_eq!(client(0x21, 0x11, &four, proxy), Some("192.0.2.1:8080".parse().unwrap()));
        let mut six = [0; 36];
        (six[0], six[1], six[15], six[33]) = (0x20, 1, 5, 9);
        assert_eq!(client(0x21, 0x21, &six, proxy), Some("[2001::5]:9".parse().unwrap()));
        assert_eq!(client(0x20, 0, &[], proxy), Some(proxy));
        assert_eq!(client(0x21, 0x31, &[], proxy), Some(proxy));
        for (command, family, rest) in [(0x11, 0x11, &four[..]), (0x22, 0x11, &four[..]), (0x21, 0x11, &four[..9])] {
            assert_eq!(client(command, family, rest, proxy), None);
        }
    }
}
