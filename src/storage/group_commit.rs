//! Many rows from many tasks, one transaction: the writer behind the archive and offline messages.
//!
//! What has gathered while the last transaction was committed makes the next one, so a busy server writes large batches
//! and an idle one does not wait. A row is decided once: it was written, or its caller is told that it was not.
//!
//! When the connection breaks in the middle of a transaction, nobody knows whether it took effect. Then it is written again
//! as long as its callers are patient ([`Batch::is_repeatable`]). Those who are not are refused, and as soon as the database
//! is back, before anything else is written, what may be there of their rows is taken away ([`Batch::undo`]).
//!
//! Once callers were refused because the database takes nothing, those behind them are refused at once, but for a few now
//! and then who find out whether it takes something again.

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
use tokio::time::{sleep, timeout, timeout_at};

use crate::database::PATIENCE;
use crate::figures::{WaitingRow, figures};
use crate::settings::{LONGEST, duration};
use crate::{Database, Engine, StorageError};

/// Between two attempts to write the same batch.
const PAUSE: Duration = Duration::from_millis(250);

/// How long those wait who find out whether the database takes something again.
const BRIEFLY: Duration = Duration::from_millis(500);

/// How long whoever reads waits until nothing is unknown any more.
const SETTLING: Duration = Duration::from_secs(2);

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

    /// Whether [`Batch::undo`] takes rows away.
    fn can_undo(&self) -> bool {
        false
    }

    /// Takes rows away that may have been written although their callers were told that they were not, all or none of
    /// them. What had been under way has come to its end before.
    fn undo(&self, _database: &Database, _rows: &[T]) -> impl Future<Output = Result<(), StorageError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The caller of a row was told that it is not there, and the row waits for [`Batch::undo`].
    fn refused(&self, _row: &T) {}

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
            patience: PATIENCE,
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
    /// In how many lanes there are rows of which nobody knows whether they are there.
    unknown: watch::Sender<usize>,
    writers: Mutex<Vec<JoinHandle<()>>>,
}

/// A row and whom to tell.
struct Waiting<T> {
    row: T,
    ticket: Ticket,
}

struct Ticket {
    decided: oneshot::Sender<Result<(), StorageError>>,
    since: Instant,
    room: OwnedSemaphorePermit,
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
        let unknown = watch::Sender::new(0);
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
                patience: settings.patience.min(LONGEST),
                takes_nothing: false,
                not_before: Instant::now(),
                probe: None,
                doubts: Doubts { rows: Vec::new(), rooms: Vec::new() },
                unknown: Unknown { lanes: unknown.clone(), is_counted: false },
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
            unknown,
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
        let since = Instant::now();
        let deadline = since + inner.patience;
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
        place.send(Waiting { row, ticket: Ticket { decided, since, room, _counted: WaitingRow::begin() } });
        Ok(Receipt(receipt))
    }

    /// Waits until it is known of every row whether it is there, for whoever is about to read: nobody is to be shown what
    /// its caller was told is not stored. Nearly always there is nothing to wait for.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when that takes longer than two seconds.
    pub async fn settled(&self) -> Result<(), StorageError> {
        if *self.0.unknown.borrow() == 0 {
            return Ok(());
        }
        let mut unknown = self.0.unknown.subscribe();
        match timeout(SETTLING, unknown.wait_for(|lanes| *lanes == 0)).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(StorageError::Unavailable("it is not known yet what was written".to_owned())),
        }
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
    patience: Duration,
    /// Callers were refused because the database took nothing, and nothing was committed since.
    takes_nothing: bool,
    /// Until then nobody tries again.
    not_before: Instant,
    /// Somebody asks then whether the database answers at all. It may take longer than one caller waits.
    probe: Option<JoinHandle<bool>>,
    doubts: Doubts<T>,
    unknown: Unknown,
}

/// Rows that were refused and may be there all the same. They go on taking their room among those that wait, so that there
/// are never too many.
struct Doubts<T> {
    rows: Vec<T>,
    rooms: Vec<OwnedSemaphorePermit>,
}

/// Whether there are rows in a lane of which nobody knows whether they are there.
struct Unknown {
    lanes: watch::Sender<usize>,
    is_counted: bool,
}

impl Unknown {
    fn set(&mut self, is_so: bool) {
        if std::mem::replace(&mut self.is_counted, is_so) != is_so {
            self.lanes.send_modify(|lanes| if is_so { *lanes += 1 } else { *lanes -= 1 });
        }
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        self.set(false);
    }
}

impl<T: Send + Sync + 'static, B: Batch<T>> Writer<T, B> {
    async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut waiting = Vec::new();
        loop {
            let has_doubts = !self.doubts.rows.is_empty();
            let came = tokio::select! {
                count = self.arrivals.recv_many(&mut waiting, self.batch_rows) => Some(count),
                _ = closing.wait_for(|closing| *closing), if !self.arrivals.is_closed() => {
                    self.arrivals.close();
                    continue;
                }
                () = sleep(PAUSE), if has_doubts => None,
            };
            let Some(count) = came else {
                // Also when nobody writes: whoever reads is not to find them.
                let _ = self.undo().await;
                self.unknown.set(!self.doubts.rows.is_empty());
                continue;
            };
            if count == 0 {
                if self.undo().await.is_err() {
                    tracing::error!(rows = self.doubts.rows.len(), "storage.refused_rows_may_be_there");
                }
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
            let late = StorageError::Unavailable("waited too long for the database".to_owned());
            self.drop_impatient(&mut piece, &late);
            if self.takes_nothing && Instant::now() < self.not_before {
                self.refuse(piece, &late);
            } else {
                self.write(piece).await;
            }
        }
    }

    /// Decides every row of a piece. One that the database refuses is halved until the row at fault stands alone.
    async fn write(&mut self, piece: Piece<T>) {
        let mut pieces = vec![piece];
        while let Some(mut piece) = pieces.pop() {
            if piece.rows.is_empty() {
                continue;
            }
            let began = Instant::now();
            let result = self.attempt(&piece).await;
            figures().commit_seconds.observe(began.elapsed().as_secs_f64());
            if result.as_ref().is_err_and(StorageError::is_uncertain) {
                piece.is_doubtful = true;
                self.unknown.set(true);
            }
            match result {
                Ok(()) => {
                    self.takes_nothing = false;
                    piece.decide(&Ok(()));
                }
                Err(error) if error.is_unavailable() && self.takes_nothing => self.still_nothing(piece, &error),
                Err(error) if error.is_unavailable() && self.batch.is_repeatable() => {
                    let until = piece.oldest() + self.patience;
                    tokio::time::sleep_until((Instant::now() + PAUSE).min(until).into()).await;
                    if self.drop_impatient(&mut piece, &error) {
                        tracing::error!(%error, "storage.takes_nothing");
                        self.takes_nothing = true;
                        self.still_nothing(piece, &error);
                    } else {
                        pieces.push(piece);
                    }
                }
                Err(error) if error.is_unavailable() || piece.rows.len() == 1 => self.refuse(piece, &error),
                Err(_) => {
                    let second = piece.split();
                    pieces.push(second);
                    pieces.push(piece);
                }
            }
            self.unknown.set(!self.doubts.rows.is_empty() || pieces.iter().any(|piece| piece.is_doubtful));
        }
    }

    /// Tries to write a piece; if that can be tried again, for no longer than its callers wait.
    async fn attempt(&mut self, piece: &Piece<T>) -> Result<(), StorageError> {
        let mut until = piece.newest() + self.patience;
        if self.takes_nothing {
            // A database that does not even answer is not worth the wait; one that does may need its time.
            if !self.answers_until(Instant::now() + BRIEFLY).await {
                return Err(StorageError::Unavailable("the database does not answer".to_owned()));
            }
            until = until.max(Instant::now() + self.patience);
        }
        let is_repeatable = self.batch.is_repeatable();
        let attempt = async {
            self.undo().await?;
            let attempt = AssertUnwindSafe(self.batch.write(&self.database, &piece.rows)).catch_unwind().await;
            attempt.unwrap_or_else(|_| Err(StorageError::Other("writing the batch panicked".to_owned())))
        };
        if !is_repeatable {
            // Nobody would find out what became of it.
            return attempt.await;
        }
        let late = || Err(StorageError::Uncertain("the database did not answer in time".to_owned()));
        timeout_at(until.into(), attempt).await.unwrap_or_else(|_elapsed| late())
    }

    /// Whether the database answers by then.
    async fn answers_until(&mut self, until: Instant) -> bool {
        let probe = self.probe.get_or_insert_with(|| {
            let database = self.database.clone();
            tokio::spawn(async move { database.fetch_optional("SELECT 1", &[]).await.is_ok() })
        });
        match timeout_at(until.into(), probe).await {
            Ok(answered) => {
                self.probe = None;
                answered.unwrap_or(false)
            }
            Err(_elapsed) => false,
        }
    }

    /// Takes away what was refused and may be there.
    async fn undo(&mut self) -> Result<(), StorageError> {
        if self.doubts.rows.is_empty() {
            return Ok(());
        }
        let rows = self.doubts.rows.len();
        match self.batch.undo(&self.database, &self.doubts.rows).await {
            Ok(()) => tracing::info!(rows, "storage.refused_rows_taken_away"),
            Err(error) if error.is_unavailable() => return Err(error),
            // It would fail for ever, and nobody could write any more.
            Err(error) => tracing::error!(%error, rows, "storage.refused_rows_may_be_there"),
        }
        self.doubts.rows.clear();
        self.doubts.rooms.clear();
        Ok(())
    }

    /// The database has taken nothing again: nobody of these waits, and for a moment nobody tries.
    fn still_nothing(&mut self, piece: Piece<T>, error: &StorageError) {
        self.not_before = Instant::now() + PAUSE;
        self.refuse(piece, error);
    }

    /// Refuses the rows whose callers wait no longer; whether there were any.
    fn drop_impatient(&mut self, piece: &mut Piece<T>, error: &StorageError) -> bool {
        let impatient = piece.take_older_than(self.patience);
        let some = !impatient.rows.is_empty();
        self.refuse(impatient, error);
        some
    }

    /// Tells the callers of all these rows that they were not written.
    fn refuse(&mut self, piece: Piece<T>, error: &StorageError) {
        let keeps = piece.is_doubtful && self.batch.can_undo();
        for (row, ticket) in piece.rows.into_iter().zip(piece.tickets) {
            if keeps {
                self.batch.refused(&row);
                self.doubts.rows.push(row);
            }
            let room = ticket.decide(Err(error.clone()));
            if keeps {
                self.doubts.rooms.push(room);
            }
        }
    }
}

/// Rows that share a fate, and whom to tell of it.
struct Piece<T> {
    rows: Vec<T>,
    tickets: Vec<Ticket>,
    /// It may have been written already.
    is_doubtful: bool,
}

impl<T> Piece<T> {
    fn of(waiting: impl Iterator<Item = Waiting<T>>) -> Piece<T> {
        let (rows, tickets) = waiting.map(|waiting| (waiting.row, waiting.ticket)).unzip();
        Piece { rows, tickets, is_doubtful: false }
    }

    /// Keeps the first half and returns the second.
    fn split(&mut self) -> Piece<T> {
        let middle = self.rows.len() / 2;
        Piece {
            rows: self.rows.split_off(middle),
            tickets: self.tickets.split_off(middle),
            is_doubtful: self.is_doubtful,
        }
    }

    /// Since when the oldest row waits.
    fn oldest(&self) -> Instant {
        self.tickets.iter().map(|ticket| ticket.since).min().unwrap_or_else(Instant::now)
    }

    /// Since when the newest row waits.
    fn newest(&self) -> Instant {
        self.tickets.iter().map(|ticket| ticket.since).max().unwrap_or_else(Instant::now)
    }

    /// Takes out the rows that wait for so long.
    fn take_older_than(&mut self, patience: Duration) -> Piece<T> {
        let mut older = Piece { rows: Vec::new(), tickets: Vec::new(), is_doubtful: self.is_doubtful };
        let now = Instant::now();
        if self.tickets.iter().all(|ticket| now < ticket.since + patience) {
            return older;
        }
        let rows = std::mem::take(&mut self.rows);
        for (row, ticket) in rows.into_iter().zip(std::mem::take(&mut self.tickets)) {
            let of = if now < ticket.since + patience { &mut *self } else { &mut older };
            of.rows.push(row);
            of.tickets.push(ticket);
        }
        older
    }

    fn decide(self, result: &Result<(), StorageError>) {
        for ticket in self.tickets {
            drop(ticket.decide(result.clone()));
        }
    }
}

impl Ticket {
    /// Tells the caller, and gives back the room that the row took.
    fn decide(self, result: Result<(), StorageError>) -> OwnedSemaphorePermit {
        if result.is_err() {
            figures().refused_rows.inc();
        }
        // Whoever no longer listens does not need to know.
        let _ = self.decided.send(result);
        self.room
    }
}
