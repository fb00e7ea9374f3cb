//! Frames of a WebSocket (RFC 6455 §5): a client's are put together to messages within bounds, ours are written.
//!
//! Heads of frames are read and written by tungstenite; whose turn it is, and how much may gather, is decided here, so that
//! between two messages nothing is held.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A whole message of text.
    Text(Bytes),
    /// A question whether we are there, to be answered with the same content.
    Ping(Bytes),
    /// An answer to ours.
    Pong,
    /// The client closes the WebSocket.
    Close,
}

/// Why a WebSocket cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Against the protocol.
    Protocol,
    /// A message of another kind than text (RFC 7395 §3.2).
    Binary,
    /// Text that is not UTF-8.
    NotText,
    /// A message that is too long, or comes in too many pieces.
    TooBig,
}

impl Broken {
    /// The code of the closing frame (RFC 6455 §7.4.1).
    pub(crate) fn code(self) -> CloseCode {
        match self {
            Broken::Protocol => CloseCode::Protocol,
            Broken::Binary => CloseCode::Unsupported,
            Broken::NotText => CloseCode::Invalid,
            Broken::TooBig => CloseCode::Size,
        }
    }
}

/// A message that comes in pieces.
#[derive(Debug)]
struct Partial {
    text: BytesMut,
    pieces: usize,
}

/// Puts a client's frames together.
#[derive(Debug)]
pub(crate) struct Messages {
    partial: Option<Box<Partial>>,
    most_pieces: usize,
}

impl Messages {
    /// For messages of at most so many pieces.
    pub(crate) fn new(most_pieces: usize) -> Messages {
        Messages { partial: None, most_pieces }
    }

    /// The next message of `input`, which is taken from it; none while it is not whole. No message is longer than `most`
    /// bytes, and what is longer is refused as soon as its length is known.
    ///
    /// # Errors
    /// Why nothing more can be read.
    pub(crate) fn next(&mut self, input: &mut BytesMut, most: usize) -> Result<Option<Message>, Broken> {
        loop {
            let mut cursor = Cursor::new(&input[..]);
            let head = FrameHeader::parse(&mut cursor).map_err(|_| Broken::Protocol)?;
            let Some((head, length)) = head else { return Ok(None) };
            let start = usize::try_from(cursor.position()).map_err(|_| Broken::Protocol)?;
            // RFC 6455 §5.1, §5.2: clients mask, and no extension was agreed on.
            let mask = head.mask.filter(|_| !(head.rsv1 || head.rsv2 || head.rsv3)).ok_or(Broken::Protocol)?;
            let length = usize::try_from(length).map_err(|_| Broken::TooBig)?;
            self.check(&head, length, most)?;
            if input.len() - start < length {
                return Ok(None);
            }
            input.advance(start);
            let mut content = input.split_to(length);
            for (index, byte) in content.iter_mut().enumerate() {
                *byte ^= mask[index % 4];
            }
            let whole = match head.opcode {
                OpCode::Control(Control::Ping) => return Ok(Some(Message::Ping(content.freeze()))),
                OpCode::Control(Control::Pong) => return Ok(Some(Message::Pong)),
                OpCode::Control(_) => return Ok(Some(Message::Close)),
                OpCode::Data(_) => self.add(content, head.is_final),
            };
            if let Some(text) = whole {
                std::str::from_utf8(&text).map_err(|_| Broken::NotText)?;
                return Ok(Some(Message::Text(text.freeze())));
            }
        }
    }

    /// Whether a frame with this head may come now.
    fn check(&self, head: &FrameHeader, length: usize, most: usize) -> Result<(), Broken> {
        match (head.opcode, &self.partial) {
            // RFC 6455 §5.5: never in pieces, and small.
            (OpCode::Control(Control::Reserved(_)), _) => Err(Broken::Protocol),
            (OpCode::Control(_), _) if !head.is_final || length > 125 => Err(Broken::Protocol),
            (OpCode::Control(_), _) => Ok(()),
            (OpCode::Data(Data::Text), None) if length > most => Err(Broken::TooBig),
            (OpCode::Data(Data::Text), None) => Ok(()),
            (OpCode::Data(Data::Continue), Some(partial)) => {
                let too_long = partial.text.len().saturating_add(length) > most;
                if too_long || partial.pieces >= self.most_pieces { Err(Broken::TooBig) } else { Ok(()) }
            }
            (OpCode::Data(Data::Binary), None) => Err(Broken::Binary),
            (OpCode::Data(_), _) => Err(Broken::Protocol),
        }
    }

    /// Takes a piece; gives the message when it was the last.
    fn add(&mut self, content: BytesMut, is_final: bool) -> Option<BytesMut> {
        match (self.partial.take(), is_final) {
            (None, true) => Some(content),
            (None, false) => {
                // A copy: a slice would keep the whole of what was read.
                let text = BytesMut::from(&content[..]);
                self.partial = Some(Box::new(Partial { text, pieces: 1 }));
                None
            }
            (Some(mut partial), is_final) => {
                partial.text.extend_from_slice(&content);
                partial.pieces += 1;
                if is_final {
                    return Some(partial.text);
                }
                self.partial = Some(partial);
                None
            }
        }
    }
}

/// The head of a frame of ours: whole, not masked.
pub(crate) fn head(opcode: OpCode, length: usize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let head = FrameHeader { opcode, ..FrameHeader::default() };
    let mut room = &mut bytes[..];
    // Ten bytes hold every head without a mask.
    let _ = head.format(length as u64, &mut room);
    let used = 10 - room.len();
    (bytes, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a client writes it.
    fn frame(first: u8, content: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first];
        match content.len() {
            length @ ..126 => bytes.push(0x80 | length as u8),
            length @ ..65_536 => bytes.extend_from_slice(&[0xfe, (length >> 8) as u8, length as u8]),
            length => {
                bytes.push(0xff);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(content.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
        bytes
    }

    fn read(bytes: &[u8]) -> Vec<Result<Message, Broken>> {
        let (mut messages, mut input) = (Messages::new(8), BytesMut::from(bytes));
        let mut all = Vec::new();
        loop {
            match messages.next(&mut input, 1000) {
                Ok(None) => return all,
                Ok(Some(message)) => all.push(Ok(message)),
                Err(broken) => {
                    all.push(Err(broken));
                    return all;
                }
            }
        }
    }

    fn text(text: &str) -> Result<Message, Broken> {
        Ok(Message::Text(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn messages_come_whole_or_in_pieces_with_pings_in_between() {
        let bytes =
            [frame(0x81, b"<a/>"), frame(0x01, b"<b"), frame(0x89, b"?"), frame(0x00, b" "), frame(0x80, b"/>")];
        let ping = Ok(Message::Ping(Bytes::from_static(b"?")));
        assert_eq!(read(&bytes.concat()), [text("<a/>"), ping, text("<b />")]);
        let long = "x".repeat(700);
        assert_eq!(read(&frame(0x81, long.as_bytes())), [text(&long)]);
        assert_eq!(
            read(&[frame(0x8a, b""), frame(0x88, b"\x03\xe8")].concat()),
            [Ok(Message::Pong), Ok(Message::Close)]
        );
    }

    #[test]
    fn bytes_may_come_one_by_one() {
        let bytes = [frame(0x01, b"<a"), frame(0x80, b"/>"), frame(0x81, "x".repeat(200).as_bytes())].concat();
        let (mut messages, mut input, mut count) = (Messages::new(8), BytesMut::new(), 0);
        for byte in bytes {
            input.extend_from_slice(&[byte]);
            count += usize::from(messages.next(&mut input, 1000).unwrap().is_some());
        }
        assert_eq!((count, input.len()), (2, 0));
    }

    #[test]
    fn c103_what_breaks_the_protocol_or_the_bounds_is_refused() {
        let unmasked = [0x81, 1, b'x'];
        assert_eq!(read(&unmasked), [Err(Broken::Protocol)]);
        for (frames, broken) in [
            (vec![frame(0xc1, b"x")], Broken::Protocol),
            (vec![frame(0x83, b"x")], Broken::Protocol),
            (vec![frame(0x80, b"x")], Broken::Protocol),
            (vec![frame(0x01, b"x"), frame(0x81, b"x")], Broken::Protocol),
            (vec![frame(0x09, b"x")], Broken::Protocol),
            (vec![frame(0x89, &[b'x'; 126])], Broken::Protocol),
            (vec![frame(0x82, b"x")], Broken::Binary),
            (vec![frame(0x81, b"\xff")], Broken::NotText),
            (vec![frame(0x81, &[b'x'; 1001])], Broken::TooBig),
            (vec![frame(0x01, &[b'x'; 600]), frame(0x80, &[b'x'; 401])], Broken::TooBig),
            ([vec![frame(0x01, b"x")], vec![frame(0x00, b"x"); 8]].concat(), Broken::TooBig),
        ] {
            assert_eq!(read(&frames.concat()), [Err(broken)], "{frames:?}");
        }
        // The length alone is enough: nothing of such a frame is gathered.
        assert_eq!(read(&[0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]), [Err(Broken::TooBig)]);
    }

    #[test]
    fn our_frames_have_the_shortest_heads() {
        for (length, expected) in [(5, &[0x81, 5][..]), (300, &[0x81, 126, 1, 44])] {
            let (bytes, used) = head(OpCode::Data(Data::Text), length);
            assert_eq!(&bytes[..used], expected);
        }
        assert_eq!(head(OpCode::Data(Data::Text), 70_000).1, 10);
    }
}
