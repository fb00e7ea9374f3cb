//! Many rows from many tasks, one transaction: the writer behind the archive and offline messages.
//!
//! What has gathered while the last transaction was committed makes the next one, so a busy server writes large batches
//! and an idle one does not wait. A row is decided once: it was written, or its caller is told that it was not (or, when
//! the connection broke in the middle, that nobody knows).

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout_at};

use crate::figures::{WaitingRow, figures};
use crate::settings::{LONGEST, duration};
use crate::{Database, Engine, StorageError};

/// Between two attempts to write the same batch.
const PAUSE: Duration = Duration::from_millis(250);

/// However much the operator allows, a transaction is no larger, and no more transactions are written side by side.
const MOST_ROWS: usize = 100_000;
const MOST_LANES: usize = 64;

/// The waiting bytes are counted in units of this size.
const UNIT: usize = 1024;

/// How a kind of row is written. One value of this serves one [`GroupCommit`].
pub trait Batch<T>: Send + Sync + 'static {
    /// Writes all rows in one transaction, in this order, or none of them. When it fails for another reason than
    /// [`StorageError::Unavailable`], it is called again with fewer rows, until the row at fault stands alone.
    fn write(&self, database: &Database, rows: &[T]) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Whether writing the same rows twice leaves them there once (`ON CONFLICT … DO NOTHING` on a key we made). Then a
    /// batch that met an unavailable database is tried again while its callers are still patient.
    fn is_repeatable(&self) -> bool {
        false
    }

    /// Which lane a row takes. Order is kept within a lane: rows of one archive belong into the same one.
    fn lane(&self, _row: &T) -> u64 {
        0
    }

    /// About how many bytes a waiting row holds, for the limit on memory.
    fn size(&self, _row: &T) -> usize {
        std::mem::size_of::<T>()
    }
}

/// How much may gather, and how long a caller waits.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupCommitSettings {
    /// How many rows are written in one transaction at most.
    pub batch_rows: usize,
    /// How many rows may wait to be written; further callers wait for room.
    pub waiting_rows: usize,
    /// How many bytes the waiting rows may hold together.
    pub waiting_bytes: usize,
    /// How long a row waits for room and for a database that is away before its sender is told to try again later.
    /// Seconds, or a text such as `"500ms"` or `"5s"`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub patience: Duration,
    /// How long to wait for more rows before writing fewer than a full batch. Seconds, or a text such as `"2ms"`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub gather: Duration,
    /// How many transactions are written side by side on PostgreSQL. Order is kept within an archive.
    pub lanes: usize,
}

impl Default for GroupCommitSettings {
    fn default() -> Self {
        GroupCommitSettings {
            batch_rows: 200,
            waiting_rows: 10_000,
            waiting_bytes: 64 * 1024 * 1024,
            patience: Duration::from_secs(12),
            gather: Duration::ZERO,
            lanes: 1,
        }
    }
}

/// Writes rows of many callers in common transactions. Cheap to clone; all clones feed the same writer.
pub struct GroupCommit<T>(Arc<Inner<T>>);

struct Inner<T> {
    lanes: Vec<mpsc::Sender<Waiting<T>>>,
    lane_of: Box<dyn Fn(&T) -> u64 + Send + Sync>,
    size_of: Box<dyn Fn(&T) -> usize + Send + Sync>,
    room: Arc<Semaphore>,
    units: u32,
    patience: Duration,
    closing: watch::Sender<bool>,
    writers: Mutex<Vec<JoinHandle<()>>>,
}

/// A row and whom to tell.
struct Waiting<T> {
    row: T,
    ticket: Ticket,
}

struct Ticket {
    decided: oneshot::Sender<Result<(), StorageError>>,
    deadline: Instant,
    _room: OwnedSemaphorePermit,
    _counted: WaitingRow,
}

/// The promise that a row which was taken will be written or refused; await it to learn which. Dropping it does not
/// take the row back.
pub struct Receipt(oneshot::Receiver<Result<(), StorageError>>);

impl Receipt {
    /// Waits until the row is in a committed transaction.
    ///
    /// # Errors
    /// What the batch failed with.
    pub async fn committed(self) -> Result<(), StorageError> {
        self.0.await.unwrap_or_else(|_| Err(StorageError::Unavailable("the writer was stopped".to_owned())))
    }
}

impl<T> Clone for GroupCommit<T> {
    fn clone(&self) -> Self {
        GroupCommit(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> GroupCommit<T> {
    /// Starts the writer. It ends by itself when the last clone is gone, after writing what it had taken.
    pub fn start(database: Database, settings: &GroupCommitSettings, batch: impl Batch<T>) -> GroupCommit<T> {
        let lanes = match database.engine() {
            // One writer, whatever happens.
            Engine::Sqlite => 1,
            Engine::Postgres => settings.lanes.clamp(1, MOST_LANES),
        };
        let batch = Arc::new(batch);
        let (closing, closed) = watch::channel(false);
        let mut senders = Vec::with_capacity(lanes);
        let mut writers = Vec::with_capacity(lanes);
        for _ in 0..lanes {
            let (sender, arrivals) = mpsc::channel((settings.waiting_rows / lanes).clamp(1, Semaphore::MAX_PERMITS));
            let writer = Writer {
                database: database.clone(),
                batch: batch.clone(),
                arrivals,
                batch_rows: settings.batch_rows.clamp(1, MOST_ROWS),
                gather: settings.gather.min(LONGEST),
            };
            senders.push(sender);
            writers.push(tokio::spawn(writer.run(closed.clone())));
        }
        let units = u32::try_from((settings.waiting_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let sizes = batch.clone();
        GroupCommit(Arc::new(Inner {
            lanes: senders,
            lane_of: Box::new(move |row| batch.lane(row)),
            size_of: Box::new(move |row| sizes.size(row)),
            room: Arc::new(Semaphore::new(units as usize)),
            units,
            patience: settings.patience.min(LONGEST),
            closing,
            writers: Mutex::new(writers),
        }))
    }

    /// Hands over a row and waits until it is in a committed transaction. A caller that gives up waiting does not take
    /// the row back.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when the database does not take it in time, else what the row failed with.
    pub async fn write(&self, row: T) -> Result<(), StorageError> {
        self.submit(row).await?.committed().await
    }

    /// Hands over a row, and returns as soon as its place in the order is certain.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when there is no room in time. The row will not be written.
    pub async fn submit(&self, row: T) -> Result<Receipt, StorageError> {
        let inner = &self.0;
        let full = || StorageError::Unavailable("too many rows wait to be written".to_owned());
        let closed = || StorageError::Unavailable("the writer is being closed".to_owned());
        let deadline = Instant::now() + inner.patience;
        // A row larger than all the room waits until it has all of it.
        let units = u32::try_from((inner.size_of)(&row).div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, inner.units);
        let lane = usize::try_from((inner.lane_of)(&row) % inner.lanes.len() as u64).unwrap_or_default();
        let place = async {
            let room = inner.room.clone().acquire_many_owned(units).await.map_err(|_| closed())?;
            let place = inner.lanes[lane].reserve().await.map_err(|_| closed())?;
            Ok((room, place))
        };
        let (room, place) = timeout_at(deadline.into(), place).await.unwrap_or_else(|_| Err(full()))?;
        let (decided, receipt) = oneshot::channel();
        place.send(Waiting { row, ticket: Ticket { decided, deadline, _room: room, _counted: WaitingRow::begin() } });
        Ok(Receipt(receipt))
    }

    /// Takes no more rows, writes those it has, and returns when all are written or refused.
    pub async fn close(&self) {
        self.0.closing.send_replace(true);
        let writers = std::mem::take(&mut *self.0.writers.lock());
        for writer in writers {
            // A writer does not panic, and nobody aborts it.
            let _ = writer.await;
        }
    }
}

/// The task of one lane.
struct Writer<T, B> {
    database: Database,
    batch: Arc<B>,
    arrivals: mpsc::Receiver<Waiting<T>>,
    batch_rows: usize,
    gather: Duration,
}

impl<T: Send + Sync + 'static, B: Batch<T>> Writer<T, B> {
    async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut waiting = Vec::new();
        loop {
            let count = tokio::select! {
                count = self.arrivals.recv_many(&mut waiting, self.batch_rows) => count,
                _ = closing.wait_for(|closing| *closing), if !self.arrivals.is_closed() => {
                    self.arrivals.close();
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            if !self.gather.is_zero() && count < self.batch_rows && !self.arrivals.is_closed() {
                sleep(self.gather).await;
                while waiting.len() < self.batch_rows
                    && let Ok(another) = self.arrivals.try_recv()
                {
                    waiting.push(another);
                }
            }
            let mut piece = Piece::of(waiting.drain(..));
            piece.drop_impatient(&StorageError::Unavailable("waited too long for the database".to_owned()));
            self.write(piece).await;
        }
    }

    /// Decides every row of a piece. One that the database refuses is halved until the row at fault stands alone.
    async fn write(&self, piece: Piece<T>) {
        let mut pieces = vec![piece];
        while let Some(mut piece) = pieces.pop() {
            if piece.rows.is_empty() {
                continue;
            }
            let began = Instant::now();
            let attempt = AssertUnwindSafe(self.batch.write(&self.database, &piece.rows)).catch_unwind().await;
            let result = attempt.unwrap_or_else(|_| Err(StorageError::Other("writing the batch panicked".to_owned())));
            figures().commit_seconds.observe(began.elapsed().as_secs_f64());
            match result {
                Ok(()) => piece.decide(&Ok(())),
                Err(error) if error.is_unavailable() && self.batch.is_repeatable() => {
                    sleep(PAUSE).await;
                    piece.drop_impatient(&error);
                    pieces.push(piece);
                }
                Err(error) if error.is_unavailable() || piece.rows.len() == 1 => piece.decide(&Err(error)),
                Err(_) => {
                    let second = piece.split();
                    pieces.push(second);
                    pieces.push(piece);
                }
            }
        }
    }
}

/// Rows that share a fate, and whom to tell of it.
struct Piece<T> {
    rows: Vec<T>,
    tickets: Vec<Ticket>,
}

impl<T> Piece<T> {
    fn of(waiting: impl Iterator<Item = Waiting<T>>) -> Piece<T> {
        let (rows, tickets) = waiting.map(|waiting| (waiting.row, waiting.ticket)).unzip();
        Piece { rows, tickets }
    }

    /// Keeps the first half and returns the second.
    fn split(&mut self) -> Piece<T> {
        let middle = self.rows.len() / 2;
        Piece { rows: self.rows.split_off(middle), tickets: self.tickets.split_off(middle) }
    }

    fn drop_impatient(&mut self, error: &StorageError) {
        let now = Instant::now();
        if self.tickets.iter().all(|ticket| now < ticket.deadline) {
            return;
        }
        let rows = std::mem::take(&mut self.rows);
        for (row, ticket) in rows.into_iter().zip(std::mem::take(&mut self.tickets)) {
            if now < ticket.deadline {
                self.rows.push(row);
                self.tickets.push(ticket);
            } else {
                ticket.decide(Err(error.clone()));
            }
        }
    }

    fn decide(self, result: &Result<(), StorageError>) {
        for ticket in self.tickets {
            ticket.decide(result.clone());
        }
    }
}

impl Ticket {
    fn decide(self, result: Result<(), StorageError>) {
        if result.is_err() {
            figures().refused_rows.inc();
        }
        // Whoever no longer listens does not need to know.
        let _ = self.decided.send(result);
    }
}
