//! The archives of one host, as its accounts and its rooms see them.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;
use tokio::sync::Notify;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::Request;
use waxwing_core::archive::{Archive, ArchiveId, Found, Kept, Stretch};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{Stanza, element};
use waxwing_storage::StorageError;

use crate::gate::Gate;
use crate::paging::Window;
use crate::preferences::Preferences;
use crate::retraction;
use crate::search::Indexer;
use crate::settings::{Keep, Settings};
use crate::store::{Peer, Shelf, Store};
use crate::turns::Turn;
use crate::worth;
use crate::writer::{NextId, Pending, Row, Writer};

/// How many messages are written in one transaction at most.
const BATCH: usize = 200;

/// The archives of one host.
pub struct Archives {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) gate: Gate,
    pub(crate) indexer: Option<Arc<Indexer>>,
    /// Told when an archive was removed and there is something to delete.
    pub(crate) removals: Notify,
    host: String,
    writer: Writer,
    shelves: Cache<BareJid, Arc<Shelf>, UnitWeighter, RandomState>,
}

/// A message that is to be stored.
pub struct Item<'a> {
    /// Who stands at the other end.
    pub peer: &'a Jid,
    /// Whether the owner of the archive has sent it.
    pub is_outgoing: bool,
    /// The message.
    pub stanza: &'a Stanza,
    /// Whether its delivery has to wait for that of the messages before it.
    pub in_turn: bool,
}

impl Archives {
    /// The archives of a host in this database. `next_id` gives ids greater than all that were given before.
    pub fn new(store: Store, host: &str, settings: Settings, next_id: NextId) -> Archives {
        let indexer = settings.search.then(|| {
            let language = if settings.language.is_empty() { "simple" } else { &settings.language };
            Arc::new(Indexer::new(store.clone(), host, language, next_id()))
        });
        let (shelves, weight) = (settings.cached_archives.get().max(1), settings.cached_archives.get().max(1) as u64);
        Archives {
            gate: Gate::new(settings.queries.get()),
            writer: Writer::start(store.clone(), next_id, indexer.clone(), BATCH),
            shelves: Cache::with(shelves.min(1 << 20), weight, UnitWeighter, RandomState::new(), Default::default()),
            removals: Notify::new(),
            host: host.to_owned(),
            store,
            settings,
            indexer,
        }
    }

    /// The number of an archive in the database; the archive is made when there is none.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn number_of(&self, owner: &BareJid) -> Result<i64, StorageError> {
        Ok(self.find_or_make(owner).await?.number)
    }

    /// Waits until the words of everything that was stored can be searched.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn finish_search(&self) -> Result<(), StorageError> {
        match &self.indexer {
            Some(indexer) => indexer.read_everything().await,
            None => Ok(()),
        }
    }

    /// The host.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What is known of an archive, if there is one.
    pub(crate) async fn find(&self, owner: &BareJid) -> Result<Option<Arc<Shelf>>, StorageError> {
        if let Some(shelf) = self.shelves.get(owner) {
            return Ok(Some(shelf));
        }
        // What is not there is not remembered: the next message makes it.
        Ok(self.store.find(owner).await?.map(Arc::new))
    }

    /// As [`Archives::find`], for whoever reads what is in it.
    pub(crate) async fn find_settled(&self, owner: &BareJid) -> Result<Option<Arc<Shelf>>, StorageError> {
        self.writer.settled().await?;
        self.find(owner).await
    }

    /// What is known of an archive, which is made when there is none.
    pub(crate) async fn find_or_make(&self, owner: &BareJid) -> Result<Arc<Shelf>, StorageError> {
        // On the way of messages: because of a short trouble of the database none is turned back.
        let read = async { self.store.0.patiently(|| self.store.find_or_make(&self.host, owner)).await.map(Arc::new) };
        self.shelves.get_or_insert_async(owner, read).await
    }

    /// What was known of an archive may not be so any more.
    pub(crate) fn forget(&self, owner: &BareJid) {
        self.shelves.remove(owner);
    }

    /// Writes down what the owner of an archive wants.
    pub(crate) async fn prefer(&self, owner: &BareJid, preferences: &Preferences) -> Result<(), StorageError> {
        let shelf = self.find_or_make(owner).await?;
        let written = self.store.prefer(shelf.number, preferences).await;
        // Also when nobody knows whether it was written.
        self.forget(owner);
        written
    }

    /// Stores a message; when it returns, the message is committed.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn put(&self, owner: &BareJid, item: Item<'_>) -> Result<(ArchiveId, Option<Turn>), StorageError> {
        let row = self.row(owner, item).await?;
        let mut told = self.submit(vec![row]).await?.committed().await?;
        told.pop().ok_or_else(|| StorageError::Other("nothing is told of a row".to_owned()))
    }

    /// A message as it will stand in an archive. Everything that has to be read for it is read now.
    ///
    /// # Errors
    /// What storage failed with.
    pub(crate) async fn row(&self, owner: &BareJid, item: Item<'_>) -> Result<Row, StorageError> {
        let archive = self.find_or_make(owner).await?.number;
        let Item { peer, is_outgoing, stanza, in_turn } = item;
        Ok(Row {
            archive,
            peer: peer.to_bare().as_str().into(),
            resource: peer.resource().map(|resource| resource.as_str()).unwrap_or_default().into(),
            reference: worth::reference(is_outgoing, stanza.id.as_deref()),
            words: self.indexer.as_ref().and_then(|_| worth::text(stanza)),
            stanza: stanza.to_bytes(),
            in_turn,
            place: Arc::default(),
        })
    }

    /// Hands messages over that are to be stored together.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when too many wait already. They will not be stored.
    pub(crate) async fn submit(&self, rows: Vec<Row>) -> Result<Pending, StorageError> {
        self.writer.submit(rows).await
    }

    /// Puts tombstones in the place of what a retraction retracts (XEP-0424 §4), in this archive.
    pub(crate) async fn retract(&self, owner: &BareJid, item: &Item<'_>) -> Result<(), Refusal> {
        let Some(named) = retraction::named(item.stanza) else { return Ok(()) };
        let Some(shelf) = self.find(owner).await? else { return Ok(()) };
        let (archive, peer) = (shelf.number, item.peer.to_bare());
        let reference = worth::reference(item.is_outgoing, Some(&named));
        let referred = self.store.referred(archive, peer.as_str(), reference).await?;
        if referred.is_empty() {
            return Ok(());
        }
        for (id, stanza) in self.store.stanzas(archive, &referred).await? {
            let Some(Ok(original)) = Stanza::read(element(stanza)?) else { continue };
            if retraction::retracts(item.stanza, &named, &original) {
                let retraction_id = item.stanza.id.as_deref().unwrap_or_default();
                let tombstone = retraction::tombstone(&original, retraction_id, now_milliseconds())?;
                self.replace_in(archive, id, &tombstone).await?;
            }
        }
        Ok(())
    }

    async fn replace_in(&self, archive: i64, id: ArchiveId, stanza: &Stanza) -> Result<bool, StorageError> {
        let replaced = self.store.replace(archive, id, &stanza.to_bytes()).await?;
        if replaced && let Some(indexer) = &self.indexer {
            indexer.unsay(id).await?;
        }
        Ok(replaced)
    }
}

#[async_trait]
impl Archive for Archives {
    async fn store(&self, owner: &BareJid, peer: &Jid, stanza: &Stanza) -> Result<ArchiveId, StorageError> {
        let item = Item { peer, is_outgoing: false, stanza, in_turn: false };
        self.put(owner, item).await.map(|(id, _)| id)
    }

    async fn read(&self, owner: &BareJid, stretch: Stretch) -> Result<Vec<Kept>, StorageError> {
        let Some(shelf) = self.find_settled(owner).await? else { return Ok(Vec::new()) };
        let window = Window {
            low: stretch.after.map_or(0, |id| id.0),
            high: stretch.before.map_or(i64::MAX, |id| id.0),
            newest: stretch.newest,
            most: stretch.most,
        };
        let page = self.store.page(shelf.number, None::<Peer<'_>>, &window, &[]).await?;
        let (mut kept, _) = self.fill(shelf.number, page.rows, window.most).await?;
        if stretch.newest {
            kept.reverse();
        }
        Ok(kept)
    }

    async fn read_these(&self, owner: &BareJid, ids: &[ArchiveId]) -> Result<Vec<Kept>, StorageError> {
        let Some(shelf) = self.find_settled(owner).await? else { return Ok(Vec::new()) };
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let stanzas = self.store.stanzas(shelf.number, &ids).await?;
        Ok(stanzas.into_iter().map(|(id, stanza)| Kept { id, stanza }).collect())
    }

    async fn newest_begin(
        &self,
        owner: &BareJid,
        after: ArchiveId,
        most: usize,
    ) -> Result<Option<ArchiveId>, StorageError> {
        match self.find_settled(owner).await? {
            Some(shelf) => self.store.newest_begin(shelf.number, after, most).await,
            None => Ok(None),
        }
    }

    async fn replace(&self, owner: &BareJid, id: ArchiveId, stanza: &Stanza) -> Result<bool, StorageError> {
        match self.find(owner).await? {
            Some(shelf) => self.replace_in(shelf.number, id, stanza).await,
            None => Ok(false),
        }
    }

    async fn query(&self, owner: &BareJid, request: Request<'_>) -> Result<Found, Refusal> {
        self.answer(owner, request).await.map(|answered| answered.found)
    }

    async fn keep_for(&self, owner: &BareJid, period: Option<Duration>) -> Result<(), StorageError> {
        let shelf = self.find_or_make(owner).await?;
        let milliseconds = period.map(|period| Keep::of(period).milliseconds().unwrap_or(-1));
        self.store.keep(shelf.number, milliseconds).await
    }

    async fn remove(&self, owner: &BareJid) -> Result<(), StorageError> {
        let removed = self.store.remove(owner, now_milliseconds()).await;
        self.forget(owner);
        if removed? {
            self.removals.notify_one();
        }
        Ok(())
    }
}
