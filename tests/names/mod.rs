//! A name server for tests, which may sign what it says (RFC 1035, RFC 4034).
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::{TcpSocket, UdpSocket};

pub const A: u16 = 1;
pub const NS: u16 = 2;
const SOA: u16 = 6;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const DNSKEY: u16 = 48;
pub const TLSA: u16 = 52;

/// How long everything may be kept, in seconds.
const LIFETIME: u32 = 60;

/// What a name server knows.
#[derive(Default)]
pub struct Zone {
    records: Vec<(String, u16, Vec<u8>)>,
    signer: Option<Signer>,
    /// Names whose signatures are wrong.
    spoilt: Vec<String>,
    /// Zones of somebody else, who does not sign.
    unsigned: Vec<String>,
}

impl Zone {
    /// Signs everything as the root zone; for names that it does not know it has no proof.
    pub fn signed() -> Zone {
        let signer = Signer { key: Ed25519KeyPair::generate().expect("a key") };
        let key = signer.public();
        Zone { signer: Some(signer), ..Zone::default() }.with("", DNSKEY, key)
    }

    pub fn with(mut self, name: &str, kind: u16, data: impl Into<Vec<u8>>) -> Zone {
        self.records.push((name.to_owned(), kind, data.into()));
        self
    }

    /// A service at a machine of this name, which has this IPv4 address.
    pub fn with_service(self, name: &str, port: u16, machine: &str, address: [u8; 4]) -> Zone {
        self.with(name, SRV, srv(0, port, machine)).with(machine, A, address)
    }

    /// The signature of what is at this name is wrong.
    pub fn with_spoilt(mut self, name: &str) -> Zone {
        self.spoilt.push(name.to_owned());
        self
    }

    /// Everything from this name down is not signed, and the zone above says so.
    pub fn with_unsigned(mut self, name: &str) -> Zone {
        self.unsigned.push(name.to_owned());
        self.with(name, NS, wire("ns.test"))
    }

    /// Writes the key that all signatures lead to into a file.
    pub fn write_anchor(&self, folder: &Path) -> PathBuf {
        let key = self.signer.as_ref().expect("it signs").public();
        let file = folder.join("anchors.txt");
        let text = format!(". 3600 IN DNSKEY 257 3 15 {}\n", STANDARD.encode(&key[4..]));
        std::fs::write(&file, text).expect("it is written");
        file
    }

    /// Answers on a port of its own, as long as the test runs.
    pub async fn serve(self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let zone = Arc::new(self);
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = zone.answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        address
    }

    /// The answer to one question (RFC 1035 §4).
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut end = 12;
        let mut labels = Vec::new();
        while *question.get(end)? != 0 {
            let length = usize::from(question[end]);
            labels.push(String::from_utf8_lossy(question.get(end + 1..=end + length)?).to_lowercase());
            end += length + 1;
        }
        let name = labels.join(".");
        let kind = u16::from_be_bytes([*question.get(end + 1)?, *question.get(end + 2)?]);
        let asked = question.get(12..end + 5)?;
        let answers = self.set(&name, kind);
        // Of a zone that is not signed, the one above it says that.
        let proof = match kind == DS && self.unsigned.contains(&name) {
            true => {
                [self.signed_set("", SOA, &[soa()]), self.signed_set(&name, NSEC, &[nsec_of_a_delegation()])].concat()
            }
            false => Vec::new(),
        };
        let is_known = self.records.iter().any(|(of, _, _)| *of == name) || !proof.is_empty();
        let code = if is_known { 0 } else { 3 };
        let mut out = question[..2].to_vec();
        out.extend([0x84, code, 0, 1, 0, answers.len() as u8, 0, proof.len() as u8, 0, 0]);
        out.extend_from_slice(asked);
        out.extend([answers, proof].concat().concat());
        Some(out)
    }

    fn set(&self, name: &str, kind: u16) -> Vec<Vec<u8>> {
        let of_kind = self.records.iter().filter(|(of, of_kind, _)| of == name && *of_kind == kind);
        let data: Vec<Vec<u8>> = of_kind.map(|(_, _, data)| data.clone()).collect();
        let is_below = |zone: &String| name == zone || name.ends_with(&format!(".{zone}"));
        match data.is_empty() || self.signer.is_none() || self.unsigned.iter().any(is_below) {
            true => data.iter().map(|data| record(name, kind, data)).collect(),
            false => self.signed_set(name, kind, &data),
        }
    }

    fn signed_set(&self, name: &str, kind: u16, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let signer = self.signer.as_ref().expect("it signs");
        let mut signature = signer.sign(name, kind, data);
        if self.spoilt.iter().any(|one| one == name) {
            *signature.last_mut().expect("a signature") ^= 1;
        }
        let mut set: Vec<Vec<u8>> = data.iter().map(|data| record(name, kind, data)).collect();
        set.push(record(name, RRSIG, &signature));
        set
    }
}

/// Signs as the root zone, with Ed25519 (RFC 8080).
struct Signer {
    key: Ed25519KeyPair,
}

impl Signer {
    /// The data of its DNSKEY record: a key that signs keys, too.
    fn public(&self) -> Vec<u8> {
        [&[1, 1, 3, 15][..], self.key.public_key().as_ref()].concat()
    }

    /// RFC 4034, appendix B.
    fn tag(&self) -> u16 {
        let sum: u32 =
            self.public().chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
        (sum + (sum >> 16)) as u16
    }

    /// The data of an RRSIG record (RFC 4034 §3.1).
    fn sign(&self, name: &str, kind: u16, data: &[Vec<u8>]) -> Vec<u8> {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as u32;
        let labels = name.split('.').filter(|label| !label.is_empty()).count() as u8;
        let mut out = kind.to_be_bytes().to_vec();
        out.extend([15, labels]);
        out.extend([LIFETIME, now + 3_600, now - 3_600].map(u32::to_be_bytes).concat());
        out.extend(self.tag().to_be_bytes());
        out.push(0);
        let mut sorted = data.to_vec();
        sorted.sort();
        let signed = [out.clone(), sorted.iter().flat_map(|data| record(name, kind, data)).collect()].concat();
        out.extend_from_slice(self.key.sign(&signed).as_ref());
        out
    }
}

/// A record as it goes over the wire.
fn record(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = wire(name);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out.extend(LIFETIME.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    out
}

/// A name as it goes over the wire.
fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn soa() -> Vec<u8> {
    [wire("ns.test"), wire("root.test"), [1, 60, 60, 60, 60].map(u32::to_be_bytes).concat()].concat()
}

/// There are NS records, their signature is not ours, and there is no DS record.
fn nsec_of_a_delegation() -> Vec<u8> {
    [wire("zzz"), vec![0, 6, 0x20, 0, 0, 0, 0, 0x03]].concat()
}

pub fn srv(priority: u16, port: u16, host: &str) -> Vec<u8> {
    [priority.to_be_bytes(), 0u16.to_be_bytes(), port.to_be_bytes()].concat().into_iter().chain(wire(host)).collect()
}

/// A port on this machine where nobody listens, and nobody will as long as the socket is there.
pub fn dead_port() -> (u16, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    (socket.local_addr().expect("bound").port(), socket)
}
