//! What both halves of a transport share: the TLS state and what the socket has not taken yet.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;

use super::scratch::{self, Scratch};
use super::session::{MAX_PLAINTEXT, Session, Stage};

/// Bytes asked of the socket at once: more than one record of the greatest size.
pub(super) const READ_SIZE: usize = 32 * 1024;

/// The state behind the lock of a transport.
pub(super) struct Channel {
    /// Ciphertext (plain: text) the socket has not taken; no memory when empty.
    pending: BytesMut,
    condition: Condition,
    tls: Option<Box<Session>>,
}

/// Whether anything can still be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Open,
    /// No more is taken, but what is pending still goes out.
    Closing,
    /// The socket failed.
    Broken(io::ErrorKind),
}

/// What a look at the socket brought.
pub(super) enum Received {
    /// That many bytes of plaintext; it may be none, when a record is not whole yet.
    Bytes(usize),
    /// Nothing more will come.
    End,
}

impl Channel {
    pub(super) fn new(tls: Option<Box<Session>>) -> Channel {
        Channel { pending: BytesMut::new(), condition: Condition::Open, tls }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        self.tls.as_deref_mut()
    }

    /// Bytes the socket has not taken yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What can be had without the socket: data that came with the handshake, or the knowledge that the end was
    /// reached.
    pub(super) fn receive_known(&mut self, into: &mut BytesMut) -> Option<Received> {
        let session = self.tls.as_deref_mut()?;
        match session.take_unread(into) {
            0 => matches!(session.stage(), Stage::PeerClosed | Stage::Failed).then_some(Received::End),
            length => Some(Received::Bytes(length)),
        }
    }

    /// Takes what the socket has and gives its plaintext. `WouldBlock` when it has nothing.
    pub(super) fn receive(&mut self, socket: &TcpStream, into: &mut BytesMut) -> io::Result<Received> {
        scratch::with(|scratch| match self.tls.as_deref_mut() {
            None => {
                let room = scratch.incoming(READ_SIZE);
                let length = socket.try_read(room)?;
                into.extend_from_slice(&room[..length]);
                Ok(if length == 0 { Received::End } else { Received::Bytes(length) })
            }
            Some(session) => {
                let before = into.len();
                let receive = |session: &mut Session, records: &mut [u8], outgoing: &mut Vec<u8>| {
                    session.receive(records, outgoing, into)
                };
                let Some(received) = read_records(session, socket, scratch, receive)? else {
                    return Ok(Received::End);
                };
                self.put(socket, &scratch.outgoing);
                if let Err(error) = received {
                    self.refuse();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
                let length = into.len() - before;
                let ended = self.session().is_some_and(|session| session.stage() == Stage::PeerClosed);
                Ok(if ended && length == 0 { Received::End } else { Received::Bytes(length) })
            }
        })
    }

    /// One step of a handshake: with `socket_is_ready`, with what the socket has, else with what is held.
    /// What is to be sent gathers; an alert too, when this fails. `UnexpectedEof` when the peer is gone.
    pub(super) fn shake(
        &mut self,
        socket: &TcpStream,
        socket_is_ready: bool,
        mut watch_output: impl FnMut(&Session, &[u8]),
    ) -> io::Result<Result<Stage, rustls::Error>> {
        scratch::with(|scratch| {
            let session = self.tls.as_deref_mut().ok_or(io::ErrorKind::NotConnected)?;
            let done = if socket_is_ready {
                read_records(session, socket, scratch, Session::receive_in_handshake)?
                    .ok_or(io::ErrorKind::UnexpectedEof)?
            } else {
                scratch.outgoing.clear();
                session.begin(&mut scratch.outgoing)
            };
            watch_output(session, &scratch.outgoing);
            let stage = session.stage();
            self.put(socket, &scratch.outgoing);
            Ok(done.map(|()| stage))
        })
    }

    /// Encrypts, if need be, and sends what the socket takes at once; the rest gathers. Nothing is sent any more
    /// after an error or a close: [`Channel::send_pending`] tells.
    pub(super) fn write(&mut self, socket: &TcpStream, plaintext: &[u8]) {
        scratch::with(|scratch| self.write_with(socket, plaintext, &mut scratch.outgoing));
    }

    /// As [`Channel::write`], for many small parts: they share records and system calls.
    pub(super) fn write_parts<'a>(&mut self, socket: &TcpStream, parts: impl IntoIterator<Item = &'a [u8]>) {
        scratch::with(|scratch| {
            let Scratch { plaintext, outgoing, .. } = scratch;
            plaintext.clear();
            for mut part in parts {
                while !part.is_empty() {
                    let (front, rest) = part.split_at(part.len().min(MAX_PLAINTEXT - plaintext.len()));
                    plaintext.extend_from_slice(front);
                    part = rest;
                    if plaintext.len() == MAX_PLAINTEXT {
                        self.write_with(socket, plaintext, outgoing);
                        plaintext.clear();
                    }
                }
            }
            self.write_with(socket, plaintext, outgoing);
            plaintext.clear();
        });
    }

    fn write_with(&mut self, socket: &TcpStream, plaintext: &[u8], outgoing: &mut Vec<u8>) {
        if self.condition != Condition::Open {
            return;
        }
        let Some(session) = self.tls.as_deref_mut() else {
            return self.put(socket, plaintext);
        };
        for piece in plaintext.chunks(MAX_PLAINTEXT) {
            outgoing.clear();
            let encrypted = session.encrypt(piece, outgoing);
            put(&mut self.pending, &mut self.condition, socket, outgoing);
            if encrypted.is_err() {
                return self.refuse();
            }
        }
    }

    /// Takes no more; tells the peer so, if there is TLS.
    pub(super) fn close(&mut self, socket: &TcpStream) {
        if self.condition != Condition::Open {
            return;
        }
        self.condition = Condition::Closing;
        scratch::with(|scratch| {
            scratch.outgoing.clear();
            if let Some(session) = self.tls.as_deref_mut() {
                // Whether it can still be said or not, the socket is closed next.
                let _said = session.close(&mut scratch.outgoing);
            }
            self.put(socket, &scratch.outgoing);
        });
    }

    /// Gives the socket what is pending. `WouldBlock` when it does not take all.
    pub(super) fn send_pending(&mut self, socket: &TcpStream) -> io::Result<()> {
        if let Condition::Broken(kind) = self.condition {
            return Err(kind.into());
        }
        while !self.pending.is_empty() {
            match socket.try_write(&self.pending) {
                Ok(taken) => self.pending.advance(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.condition = Condition::Broken(error.kind());
                    self.pending = BytesMut::new();
                    return Err(error);
                }
            }
        }
        self.pending = BytesMut::new();
        Ok(())
    }

    fn refuse(&mut self) {
        if self.condition == Condition::Open {
            self.condition = Condition::Closing;
        }
    }

    fn put(&mut self, socket: &TcpStream, bytes: &[u8]) {
        put(&mut self.pending, &mut self.condition, socket, bytes);
    }
}

/// Sends at once what the socket takes; keeps the rest.
fn put(pending: &mut BytesMut, condition: &mut Condition, socket: &TcpStream, mut bytes: &[u8]) {
    if matches!(condition, Condition::Broken(_)) {
        return;
    }
    if pending.is_empty() && !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(taken) => bytes = &bytes[taken..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                *condition = Condition::Broken(error.kind());
                return;
            }
        }
    }
    pending.extend_from_slice(bytes);
}

/// Puts what is held and what the socket has into the scratch buffer and lets `receive` work on it, with an empty
/// `outgoing`. `None` at the end of the stream.
fn read_records<Outcome>(
    session: &mut Session,
    socket: &TcpStream,
    scratch: &mut Scratch,
    receive: impl FnOnce(&mut Session, &mut [u8], &mut Vec<u8>) -> Outcome,
) -> io::Result<Option<Outcome>> {
    let held = session.held().len();
    let room = scratch.incoming(held + READ_SIZE);
    let length = socket.try_read(&mut room[held..])?;
    if length == 0 {
        return Ok(None);
    }
    room[..held].copy_from_slice(session.held());
    scratch.outgoing.clear();
    Ok(Some(receive(session, &mut scratch.incoming[..held + length], &mut scratch.outgoing)))
}
