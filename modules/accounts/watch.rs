//! The watch: what other processes do to accounts takes effect here too, within a second or two (`waxwing user …` works
//! on the database while the server runs).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use waxwing_core::address::{NodePart, NodeRef};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::events::Event;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_storage::StorageError;

use crate::book::Book;
use crate::store::What;

/// How often the journal is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// How many lines of the journal, or names, are read at a time.
const PAGE: u32 = 500;
/// After how many looks old lines and half-removed accounts are cleared away.
const CLEARING: u64 = 600;
/// An account that ended so long ago (in milliseconds) and is still there was left by a process that died.
const ABANDONED: i64 = 60_000;
/// Lines of the journal are kept for a day (in milliseconds), for processes that were stopped for a while.
const JOURNAL: i64 = 86_400_000;

struct Watch {
    book: Arc<Book>,
    /// The number of the newest line that was seen.
    seen: AtomicI64,
    looks: AtomicU64,
}

/// Looks into the journal every second from now on; `newest` is the number of the newest line that is known.
pub(crate) fn start(book: Arc<Book>, newest: i64) {
    let context = book.context.clone();
    let watch = Arc::new(Watch { book, seen: AtomicI64::new(newest), looks: AtomicU64::new(0) });
    context.every(PERIOD, move || {
        let watch = watch.clone();
        async move {
            // Storage has said already that it is away; the next look sees what this one has missed.
            if let Err(error) = watch.look().await {
                tracing::debug!(host = %watch.book.context.domain(), %error, "accounts.not_watched");
            }
        }
    });
}

impl Watch {
    async fn look(&self) -> Result<(), StorageError> {
        loop {
            let begun = Instant::now();
            let changes = self.book.store.changes_after(self.seen.load(Ordering::Relaxed), PAGE).await?;
            for change in &changes {
                match &change.about {
                    Some((name, what)) if !change.is_own => self.apply(name, *what).await,
                    _ => {}
                }
                self.seen.store(change.number, Ordering::Relaxed);
            }
            if changes.len() < PAGE as usize {
                self.book.known.looked_at(begun);
                break;
            }
        }
        if self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEARING) {
            self.clear_away().await?;
        }
        Ok(())
    }

    /// Does what the change would have done had it been made here.
    async fn apply(&self, name: &NodePart, what: What) {
        let book = &self.book;
        book.known.forget(name);
        let account = book.address(name);
        tracing::info!(%account, ?what, "account.changed_elsewhere");
        match what {
            What::Created => book.context.tell(Event::AccountCreated(account)).await,
            What::Removed => book.context.tell(Event::AccountRemoved(account)).await,
            What::Password => {
                book.context.tell(Event::PasswordChanged(account)).await;
                self.end_sessions(name);
            }
        }
    }

    /// Whoever changed the password elsewhere did not do it with one of these.
    fn end_sessions(&self, name: &NodeRef) {
        for session in self.book.context.directory().sessions(&self.book.address(name)) {
            session.finish(Some(StreamError::saying(StreamCondition::Reset, "the password was changed")));
        }
    }

    /// Finishes what processes left undone that died while they removed an account, and shortens the journal.
    async fn clear_away(&self) -> Result<(), StorageError> {
        let now = now_milliseconds();
        let abandoned = self.book.store.retired_before(now - ABANDONED, PAGE).await?;
        if !abandoned.is_empty() {
            self.book.finish_removing(&abandoned).await?;
        }
        self.book.store.forget_changes_before(now - JOURNAL).await?;
        Ok(())
    }
}
