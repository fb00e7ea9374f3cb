//! Records in every cut: byte by byte, many at once, and with keys that change in between.

use rustls::server::UnbufferedServerConnection;

use super::*;
use crate::tls::hello::HelloReader;
use crate::tls::session::{MAX_PLAINTEXT, Session, Stage};

/// A client and a session of ours with nothing but memory between them.
struct Pair {
    client: ClientConnection,
    session: Session,
    /// What our side decrypted.
    text: BytesMut,
    /// What the client decrypted.
    client_text: Vec<u8>,
    /// Bytes handed over at once.
    cut: usize,
}

impl Pair {
    fn shaken(house: &House, version: &'static SupportedProtocolVersion, cut: usize) -> Pair {
        let mut client = ClientConnection::new(Arc::new(house.client(version)), name("capulet.lit")).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut reader = HelloReader::new();
        let mut read = None;
        let mut pieces = hello.chunks(cut);
        while read.is_none() {
            read = reader.take(pieces.next().unwrap()).ok().unwrap();
        }
        assert_eq!(pieces.next(), None, "it takes all of the hello to be one");
        let read = read.unwrap();
        assert_eq!(read.bytes, hello);
        let choice = house.configuration(TlsOptions::default()).choose(read.server_name.as_deref(), None).ok().unwrap();
        let connection = UnbufferedServerConnection::new(choice.configuration).unwrap();
        let mut session = Session::server(connection, read.bytes);
        let mut flight = Vec::new();
        session.begin(&mut flight).unwrap();
        let mut pair = Pair { client, session, text: BytesMut::new(), client_text: Vec::new(), cut };
        pair.hear_session(&flight);
        while pair.client.is_handshaking() || pair.session.stage() == Stage::Handshaking {
            pair.hear_client();
        }
        pair
    }

    fn hear_session(&mut self, records: &[u8]) {
        for mut piece in records.chunks(self.cut) {
            while !piece.is_empty() {
                self.client.read_tls(&mut piece).unwrap();
                self.client.process_new_packets().unwrap();
            }
            let mut text = Vec::new();
            let _would_block = io::Read::read_to_end(&mut self.client.reader(), &mut text);
            self.client_text.extend(text);
        }
    }

    /// Carries over what the client has to send, and our answers back.
    fn hear_client(&mut self) {
        let mut records = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut records).unwrap();
        }
        for piece in records.chunks(self.cut) {
            let mut buffer = [self.session.held(), piece].concat();
            let mut answer = Vec::new();
            if self.session.stage() == Stage::Handshaking {
                self.session.receive_in_handshake(&mut buffer, &mut answer).unwrap();
                self.session.take_unread(&mut self.text);
            } else {
                self.session.receive(&mut buffer, &mut answer, &mut self.text).unwrap();
            }
            self.hear_session(&answer);
        }
    }

    fn client_says(&mut self, text: &[u8]) {
        self.client.set_buffer_limit(None);
        io::Write::write_all(&mut self.client.writer(), text).unwrap();
        self.hear_client();
    }

    fn session_says(&mut self, text: &[u8]) {
        for piece in text.chunks(MAX_PLAINTEXT) {
            let mut records = Vec::new();
            self.session.encrypt(piece, &mut records).unwrap();
            self.hear_session(&records);
        }
    }
}

#[test]
fn every_cut_carries_the_same() {
    let house = House::new();
    let text: Vec<u8> = (0..40_000u32).map(|index| index as u8).collect();
    for version in VERSIONS {
        for cut in [1, 2, 7, 1000, 16_384, 1_000_000] {
            let mut pair = Pair::shaken(&house, version, cut);
            for _ in 0..2 {
                pair.text.clear();
                pair.client_text.clear();
                pair.client_says(&text);
                assert!(pair.text == text, "{version:?} cut at {cut}");
                assert!(pair.session.held().is_empty());
                pair.session_says(&text);
                assert!(pair.client_text == text, "{version:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn keys_may_change_at_any_time() {
    let house = House::new();
    for cut in [1, 1_000_000] {
        let mut pair = Pair::shaken(&house, &TLS13, cut);
        for round in 0..5u8 {
            pair.text.clear();
            pair.client_text.clear();
            pair.client_says(b"before");
            pair.client.refresh_traffic_keys().unwrap();
            pair.client_says(&[round; 100]);
            assert_eq!(&pair.text[..], [&b"before"[..], &[round; 100]].concat());
            // Our side answers the change along with what it says next.
            pair.session_says(b"after");
            assert_eq!(pair.client_text, b"after");
        }
    }
}

/// A write while half a record of the peer is held must not lose it.
#[test]
fn writing_in_the_middle_of_a_record_loses_nothing() {
    let house = House::new();
    for version in VERSIONS {
        let mut pair = Pair::shaken(&house, version, 1_000_000);
        io::Write::write_all(&mut pair.client.writer(), b"<message/>").unwrap();
        let mut records = Vec::new();
        pair.client.write_tls(&mut records).unwrap();
        let (front, back) = records.split_at(11);
        let mut answer = Vec::new();
        pair.session.receive(&mut front.to_vec(), &mut answer, &mut pair.text).unwrap();
        assert_eq!(pair.session.held(), front);
        pair.session_says(b"<presence/>");
        assert_eq!(pair.client_text, b"<presence/>");
        let mut rest = [pair.session.held(), back].concat();
        pair.session.receive(&mut rest, &mut answer, &mut pair.text).unwrap();
        assert_eq!(&pair.text[..], b"<message/>");
        assert!(answer.is_empty());
    }
}

/// Over a real socket, each byte in a packet of its own.
#[tokio::test]
async fn a_client_may_send_byte_by_byte() {
    let house = House::new();
    for version in VERSIONS {
        let configuration = house.configuration(TlsOptions::default());
        let (mut socket, far) = connected().await;
        let far = Transport::plain(far).unwrap();
        let config = Arc::new(house.client(version));
        let client = async move {
            let mut client = ClientConnection::new(config, name("capulet.lit")).unwrap();
            io::Write::write_all(&mut client.writer(), b"<stream:stream>").unwrap();
            while client.is_handshaking() || client.wants_write() {
                let mut records = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut records).unwrap();
                }
                for byte in records {
                    socket.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                if client.is_handshaking() {
                    let mut bytes = vec![0; 16 * 1024];
                    let length = socket.read(&mut bytes).await.unwrap();
                    client.read_tls(&mut &bytes[..length]).unwrap();
                    client.process_new_packets().unwrap();
                }
            }
            socket
        };
        let server = async {
            let far = far.start_tls(&configuration, None).await.unwrap();
            assert_eq!(&read_exactly(&far, 15).await[..], b"<stream:stream>");
        };
        within(async { tokio::join!(client, server) }).await;
    }
}
