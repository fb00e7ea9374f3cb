//! The TLS state of one connection over rustls' unbuffered API: it owns keys, not buffers (RFC 8446, RFC 5246).

use std::sync::Arc;

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error, HandshakeKind, PeerMisbehaved, ProtocolVersion};
use rustls_pki_types::CertificateDer;

use super::TlsInfo;
use crate::certificates::Certificate;

/// The most plaintext in one record.
pub(super) const MAX_PLAINTEXT: usize = 16 * 1024;
/// What a record adds to its plaintext at most: header, explicit nonce or content type, tag.
const RECORD_OVERHEAD: usize = 64;
/// The most we hold of records and messages that are not whole yet: one record, and while client certificates may
/// come, one handshake message of the greatest length rustls takes.
const MAX_HELD: usize = 20 * 1024;
const MAX_HELD_IN_HANDSHAKE: usize = 80 * 1024;

/// The content type of records that carry handshake messages (RFC 5246 §6.2.1).
const HANDSHAKE_RECORD: u8 = 22;

/// The TLS state of one connection.
pub(super) struct Session {
    connection: Connection,
    /// The front of a record that is not whole yet, as it came from the socket; no memory when empty.
    held: Vec<u8>,
    /// Plaintext that came along with the handshake, not yet given to the reader.
    unread: BytesMut,
    stage: Stage,
    facts: Facts,
}

/// What was learned during the handshake and is asked for later.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) server_name: Option<Box<str>>,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) exporter: Option<[u8; 32]>,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake needs more from the peer.
    Handshaking,
    /// Data may flow.
    Open,
    /// The peer has said that nothing more will come.
    PeerClosed,
    /// An error ended it: nothing more may be read or written.
    Failed,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What both kinds of rustls' connections can do.
trait Records: std::ops::Deref<Target: std::ops::Deref<Target = CommonState>> {
    type Data;
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = rustls::server::ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Session {
    /// The server's side; `hello` is what was read so far.
    pub(super) fn server(connection: UnbufferedServerConnection, hello: Vec<u8>) -> Session {
        Session::new(Connection::Server(connection), hello)
    }

    /// The client's side.
    pub(super) fn client(connection: UnbufferedClientConnection) -> Session {
        Session::new(Connection::Client(connection), Vec::new())
    }

    fn new(connection: Connection, held: Vec<u8>) -> Session {
        let (unread, stage, facts) = (BytesMut::new(), Stage::Handshaking, Facts::default());
        Session { connection, held, unread, stage, facts }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Bytes held of a record that is not whole.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Gives the reader what came along with the handshake.
    pub(super) fn take_unread(&mut self, into: &mut BytesMut) -> usize {
        let unread = std::mem::take(&mut self.unread);
        into.extend_from_slice(&unread);
        unread.len()
    }

    /// Works on what is held, without news from the socket: the first step of a handshake.
    pub(super) fn begin(&mut self, outgoing: &mut Vec<u8>) -> Result<(), Error> {
        let mut records = std::mem::take(&mut self.held);
        self.receive_in_handshake(&mut records, outgoing)
    }

    /// As [`Session::receive`], during the handshake; data that comes with its end waits for the reader.
    pub(super) fn receive_in_handshake(&mut self, records: &mut [u8], outgoing: &mut Vec<u8>) -> Result<(), Error> {
        let mut unread = std::mem::take(&mut self.unread);
        let received = self.receive(records, outgoing, &mut unread);
        self.unread = unread;
        received
    }

    /// Takes `records`: what was held, followed by what came from the socket. Decrypts what is whole into `into`,
    /// holds the rest, and appends answers (handshake, alerts) to `outgoing`. After an error an alert may be in
    /// `outgoing`; the session is over then.
    pub(super) fn receive(
        &mut self,
        records: &mut [u8],
        outgoing: &mut Vec<u8>,
        into: &mut BytesMut,
    ) -> Result<(), Error> {
        if self.is_asked_to_begin_anew(records) {
            self.stage = Stage::Failed;
            return Err(PeerMisbehaved::TooManyRenegotiationRequests.into());
        }
        let pumped = match &mut self.connection {
            Connection::Server(connection) => pump(connection, records, outgoing, into),
            Connection::Client(connection) => pump(connection, records, outgoing, into),
        };
        self.held = Vec::new();
        let (used, stage) = pumped.inspect_err(|_| self.stage = Stage::Failed)?;
        // Once closed it stays so: rustls tells it only once.
        if self.stage != Stage::PeerClosed {
            self.stage = stage;
        }
        if self.stage == Stage::PeerClosed {
            return Ok(());
        }
        let rest = &records[used..];
        let limit = if stage == Stage::Handshaking { MAX_HELD_IN_HANDSHAKE } else { MAX_HELD };
        if rest.len() > limit {
            self.stage = Stage::Failed;
            return Err(Error::PeerSentOversizedRecord);
        }
        self.held = rest.to_vec();
        Ok(())
    }

    /// Whether a client wants to shake hands again inside TLS 1.2 (security row S5). rustls would politely decline and go
    /// on; RFC 6120 §5.3.5 wants the connection closed at once. The content type of a record stands in the clear, and
    /// after the handshake a client has no other reason for one of that type. `records` begin where one begins.
    fn is_asked_to_begin_anew(&self, mut records: &[u8]) -> bool {
        let is_server = matches!(self.connection, Connection::Server(_));
        if !is_server || self.stage != Stage::Open || self.state().protocol_version() != Some(ProtocolVersion::TLSv1_2)
        {
            return false;
        }
        while let [content, _, _, high, low, rest @ ..] = records {
            if *content == HANDSHAKE_RECORD {
                return true;
            }
            records = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
        }
        false
    }

    /// Encrypts up to [`MAX_PLAINTEXT`] bytes and appends the records to `outgoing`.
    pub(super) fn encrypt(&mut self, plaintext: &[u8], outgoing: &mut Vec<u8>) -> Result<(), Error> {
        let room = plaintext.len() + RECORD_OVERHEAD;
        self.write(outgoing, room, |traffic, room| traffic.encrypt(plaintext, room))
    }

    /// Says that nothing more will come from us.
    pub(super) fn close(&mut self, outgoing: &mut Vec<u8>) -> Result<(), Error> {
        self.write(outgoing, RECORD_OVERHEAD, |traffic, room| traffic.close(room))
    }

    fn write(
        &mut self,
        outgoing: &mut Vec<u8>,
        room: usize,
        write: impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        if self.stage == Stage::Failed {
            return Err(Error::HandshakeNotComplete);
        }
        let (held, unread) = (&mut self.held, &mut self.unread);
        let written = match &mut self.connection {
            Connection::Server(connection) => write_traffic(connection, held, unread, outgoing, room, write),
            Connection::Client(connection) => write_traffic(connection, held, unread, outgoing, room, write),
        };
        written.inspect_err(|_| self.stage = Stage::Failed)
    }

    /// What was agreed on; `None` before the handshake is over.
    pub(super) fn info(&self) -> Option<TlsInfo> {
        let state = self.state();
        if state.is_handshaking() {
            return None;
        }
        Some(TlsInfo {
            version: state.protocol_version()?,
            cipher_suite: state.negotiated_cipher_suite()?.suite(),
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            server_name: self.facts.server_name.as_deref().map(str::to_owned),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            exporter: self.facts.exporter,
            server_end_point: self.facts.certificate.as_ref().and_then(|one| one.end_point()).map(<[u8]>::to_vec),
        })
    }

    /// The chain the peer showed, its own certificate first.
    pub(super) fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.state().peer_certificates().map(<[_]>::to_vec).unwrap_or_default()
    }

    pub(super) fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(connection) => connection,
            Connection::Client(connection) => connection,
        }
    }
}

/// Lets rustls work through `records` until it needs more of them. Gives how many bytes it is done with.
fn pump<C: Records>(
    connection: &mut C,
    records: &mut [u8],
    outgoing: &mut Vec<u8>,
    into: &mut BytesMut,
) -> Result<(usize, Stage), Error> {
    let mut used = 0;
    loop {
        let rest = records.len() - used;
        let UnbufferedStatus { mut discard, state } = connection.process(&mut records[used..]);
        let stage = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    if record.payload.len() > into.capacity() - into.len() {
                        // Ciphertext is a little longer than its text: this holds all that is still to come.
                        into.reserve(record.payload.len().max(rest));
                    }
                    into.extend_from_slice(record.payload);
                    discard += record.discard;
                }
                None
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, outgoing).map(|()| None)?,
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Stage::Handshaking),
            Ok(ConnectionState::WriteTraffic(_)) => Some(Stage::Open),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Stage::PeerClosed),
            // Early data, which no configuration of ours takes, or a state of a later rustls.
            Ok(_) => return Err(Error::General("unexpected state of a TLS connection".to_owned())),
            Err(error) => {
                used += discard;
                last_words(connection, &mut records[used..], outgoing);
                return Err(error);
            }
        };
        used += discard;
        if let Some(stage) = stage {
            return Ok((used, stage));
        }
    }
}

/// Collects the alert for an error. rustls hands out what it has to send before it looks at its input, so this
/// stops as soon as there is nothing to send: a second error would be one too many.
fn last_words<C: Records>(connection: &mut C, records: &mut [u8], outgoing: &mut Vec<u8>) {
    while connection.wants_write() {
        match connection.process(records).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                if encode(&mut data, outgoing).is_err() {
                    return;
                }
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            _ => return,
        }
    }
}

/// Brings rustls to where it writes, and has it write once.
fn write_traffic<C: Records>(
    connection: &mut C,
    held: &mut Vec<u8>,
    unread: &mut BytesMut,
    outgoing: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process(held);
        let written = match state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                append(outgoing, room, |room| match write(&mut traffic, room) {
                    Ok(written) => Ok(written),
                    Err(EncryptError::InsufficientSize(size)) => Err(TooSmall::Needs(size.required_size)),
                    Err(EncryptError::EncryptExhausted) => Err(TooSmall::Never),
                })?;
                true
            }
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    unread.extend_from_slice(record.payload);
                    discard += record.discard;
                }
                false
            }
            ConnectionState::EncodeTlsData(mut data) => {
                encode(&mut data, outgoing)?;
                false
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                false
            }
            ConnectionState::PeerClosed => false,
            // Closed on both sides: nobody would read it.
            ConnectionState::Closed => true,
            _ => return Err(Error::HandshakeNotComplete),
        };
        held.drain(..discard);
        if held.is_empty() {
            *held = Vec::new();
        }
        if written {
            return Ok(());
        }
    }
}

/// What can be written in the open state, without the type of the side.
trait Traffic {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError>;
    fn close(&mut self, room: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Traffic for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plaintext, room)
    }

    fn close(&mut self, room: &mut [u8]) -> Result<usize, EncryptError> {
        self.queue_close_notify(room)
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    append(outgoing, 0, |room| match data.encode(room) {
        Ok(written) => Ok(written),
        Err(EncodeError::InsufficientSize(size)) => Err(TooSmall::Needs(size.required_size)),
        Err(EncodeError::AlreadyEncoded) => Ok(0),
    })
}

enum TooSmall {
    Needs(usize),
    Never,
}

/// Appends what `write` writes, with more room when it asks for it.
fn append(
    outgoing: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, TooSmall>,
) -> Result<(), Error> {
    let start = outgoing.len();
    loop {
        outgoing.resize(start + room, 0);
        match write(&mut outgoing[start..]) {
            Ok(written) => {
                outgoing.truncate(start + written);
                return Ok(());
            }
            Err(TooSmall::Needs(size)) if size > room => room = size,
            Err(_) => {
                outgoing.truncate(start);
                return Err(Error::EncryptError);
            }
        }
    }
}
