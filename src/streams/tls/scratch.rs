//! Buffers that belong to a thread, not to a connection: a thousand idle streams share a few of them.

use std::cell::RefCell;

/// The buffers of one thread. They hold nothing of value between two uses.
#[derive(Default)]
pub(super) struct Scratch {
    /// What comes from the socket.
    pub(super) incoming: Vec<u8>,
    /// What goes to the socket.
    pub(super) outgoing: Vec<u8>,
    /// Plaintext that is put together before it is encrypted.
    pub(super) plaintext: Vec<u8>,
}

impl Scratch {
    /// Room for at least `length` bytes of input.
    pub(super) fn incoming(&mut self, length: usize) -> &mut [u8] {
        if self.incoming.len() < length {
            self.incoming.resize(length, 0);
        }
        &mut self.incoming[..length]
    }
}

/// Lends this thread's buffers. Not to be nested.
pub(super) fn with<Result>(use_them: impl FnOnce(&mut Scratch) -> Result) -> Result {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(use_them)
}
