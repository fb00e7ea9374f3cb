//! Queries of an archive: pages of it, the fields of the form, and its ends (XEP-0313 §4 and §5).

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::Request;
use waxwing_core::archive::{ArchiveId, Found, Kept};
use waxwing_core::clock::date_time;
use waxwing_core::fault::Fault;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{decode, element};
use waxwing_core::xml::{Child, Element, Writer};
use waxwing_storage::StorageError;
use xmpp_parsers::mam::Query;

use crate::archives::Archives;
use crate::catching_up::Answered;
use crate::form::{self, Filter, MAM};
use crate::paging::{Summary, Wanted};
use crate::store::{PageRow, Peer};

/// How many bytes of stanzas are read for one page. A page that would have more ends earlier; one message it always has.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// How far results are counted for a client that asks for their number alone (XEP-0059 §2.7). Beyond it no number is
/// told: counting a large archive costs more than reading from it.
const COUNTED: u32 = 10_000;

/// A page, and what is said of it.
struct Outcome {
    messages: Vec<Kept>,
    summary: Summary,
}

impl Archives {
    /// Answers whoever may see the archive.
    pub(crate) async fn answer(&self, owner: &BareJid, request: Request<'_>) -> Result<Answered, Refusal> {
        let payload = request.payload();
        let alone = |answer| Found { results: Vec::new(), reach_the_end: false, answer };
        match (payload.name(), request.is_set()) {
            ("query", true) => self.answer_query(owner, request.from(), payload).await,
            ("query", false) => Ok(Answered::without_messages(alone(self.fields()?))),
            ("metadata", false) => {
                let ends = self.ends(owner).await?;
                let newest = ends.map(|(_, newest)| newest);
                Ok(Answered { found: alone(metadata(ends)?), newest, is_for_all: true })
            }
            ("metadata", true) => Err(Refusal::bad_request().saying("metadata is asked for with get")),
            _ => Err(Refusal::feature_not_implemented()),
        }
    }

    /// §4.1.5.
    fn fields(&self) -> Result<Element, Fault> {
        let mut writer = Writer::new();
        writer.open("query").attribute("xmlns", MAM);
        writer.open("x").attribute("xmlns", "jabber:x:data").attribute("type", "form");
        form::write_fields(&mut writer, self.settings.search);
        element(writer.finish())
    }

    /// The oldest and the newest message of an archive that are committed.
    pub(crate) async fn ends(&self, owner: &BareJid) -> Result<Option<(ArchiveId, ArchiveId)>, StorageError> {
        match self.find_settled(owner).await? {
            Some(shelf) => self.store.ends(shelf.number).await,
            None => Ok(None),
        }
    }

    async fn answer_query(&self, owner: &BareJid, from: Option<&Jid>, payload: Child<'_>) -> Result<Answered, Refusal> {
        let query: Query = decode(payload)?;
        if query.node.is_some() {
            return Err(Refusal::item_not_found().saying("the archive of an account or a room has no nodes"));
        }
        let filter = Filter::read(query.form, self.settings.search)?;
        let wanted = Wanted::of(&filter, query.set.as_ref(), self.settings.page.get())?;
        let inside = self.gate.enter(from.map_or_else(|| owner.clone(), Jid::to_bare)).await?;
        let Outcome { mut messages, summary } = self.look_up(owner, &filter, &wanted).await?;
        drop(inside);
        if query.flip_page {
            messages.reverse();
        }
        let query_id = query.queryid.as_ref().map(|id| id.0.as_str());
        let results = messages.iter().map(|message| result(query_id, message)).collect::<Result<_, _>>()?;
        let mut writer = Writer::new();
        summary.write(&mut writer);
        let reach_the_end = summary.complete && !wanted.window.newest && wanted.window.most > 0 && filter.is_open_end();
        // A page that was read from the newer end begins with the newest there is, unless it was to be older than something.
        let is_newest = wanted.window.newest && wanted.window.high == i64::MAX && filter.is_open_end();
        let newest = if reach_the_end || is_newest { messages.iter().map(|message| message.id).max() } else { None };
        let found = Found { results, reach_the_end, answer: element(writer.finish())? };
        Ok(Answered { found, newest, is_for_all: filter.is_for_all() })
    }

    /// Finds the page that is wanted.
    async fn look_up(&self, owner: &BareJid, filter: &Filter, wanted: &Wanted) -> Result<Outcome, Refusal> {
        let Some(shelf) = self.find_settled(owner).await? else {
            let names_some = !wanted.named.is_empty() || filter.ids.as_ref().is_some_and(|ids| !ids.is_empty());
            return if names_some { Err(form::not_found()) } else { Ok(Outcome::empty()) };
        };
        let archive = shelf.number;
        let bare = filter.with.as_ref().map(Jid::to_bare);
        let resource = filter.with.as_ref().and_then(Jid::resource).map(|resource| resource.as_str());
        let peer = bare.as_ref().map(|bare| Peer { bare: bare.as_str(), resource: resource.unwrap_or_default() });
        if let Some(ids) = &filter.ids {
            return self.look_up_ids(archive, ids, peer, wanted).await;
        }
        if wanted.window.most == 0 {
            return self.only_count(archive, peer, filter, wanted).await;
        }
        let page = match &filter.words {
            Some(words) if words.is_empty() => Default::default(),
            Some(words) => {
                self.store.found(archive, peer, &wanted.window, &wanted.named, words, self.language()).await?
            }
            None => self.store.page(archive, peer, &wanted.window, &wanted.named).await?,
        };
        let named = match page.named {
            Some(named) => named,
            None if wanted.named.is_empty() => 0,
            None => self.store.how_many(archive, &wanted.named).await?,
        };
        if named < wanted.named.len() {
            return Err(form::not_found());
        }
        self.outcome(archive, page.rows, wanted).await
    }

    /// Messages that were named by their ids (§4.1.3): all of them must be there.
    async fn look_up_ids(
        &self,
        archive: i64,
        ids: &[ArchiveId],
        peer: Option<Peer<'_>>,
        wanted: &Wanted,
    ) -> Result<Outcome, Refusal> {
        let mut named = [ids, &wanted.named].concat();
        named.sort();
        named.dedup();
        if self.store.how_many(archive, &named).await? < named.len() {
            return Err(form::not_found());
        }
        let ids = self.store.some_with(archive, ids, peer).await?;
        let (page, more) = wanted.window.page_of(&ids);
        let mut rows = self.store.rows(archive, page).await?;
        if wanted.window.newest {
            rows.reverse();
        }
        let mut outcome = self.outcome(archive, rows, wanted).await?;
        outcome.summary.complete &= !more;
        if more {
            outcome.summary.count = None;
        }
        Ok(outcome)
    }

    /// A client wants no messages, but to know how many there are.
    async fn only_count(
        &self,
        archive: i64,
        peer: Option<Peer<'_>>,
        filter: &Filter,
        wanted: &Wanted,
    ) -> Result<Outcome, Refusal> {
        if self.store.how_many(archive, &wanted.named).await? < wanted.named.len() {
            return Err(form::not_found());
        }
        let count = match &filter.words {
            Some(words) if words.is_empty() => 0,
            Some(words) => {
                self.store.count_found(archive, peer, &wanted.window, words, self.language(), COUNTED + 1).await?
            }
            None => self.store.count(archive, peer, &wanted.window, COUNTED + 1).await?,
        };
        let told = count <= COUNTED as usize && wanted.from_the_end;
        let summary = Summary { ends: None, complete: count == 0, count: told.then_some(count) };
        Ok(Outcome { messages: Vec::new(), summary })
    }

    /// Makes a page of what was read, which is in the order of the window and has one message more if there are more.
    async fn outcome(&self, archive: i64, rows: Vec<PageRow>, wanted: &Wanted) -> Result<Outcome, Refusal> {
        let (mut messages, more) = self.fill(archive, rows, wanted.window.most).await?;
        if wanted.window.newest {
            messages.reverse();
        }
        let ends = messages.first().zip(messages.last()).map(|(first, last)| (first.id, last.id));
        // What is all there is has been counted already.
        let count = (!more && wanted.from_the_end).then_some(messages.len());
        Ok(Outcome { messages, summary: Summary { ends, complete: !more, count } })
    }

    /// Reads what is still missing of a page; whether there is more than what it holds now.
    pub(crate) async fn fill(
        &self,
        archive: i64,
        mut rows: Vec<PageRow>,
        most: usize,
    ) -> Result<(Vec<Kept>, bool), StorageError> {
        let found = rows.len();
        rows.truncate(most);
        let mut bytes = 0;
        let fit = rows.iter().take_while(|row| {
            let first = bytes == 0;
            bytes += row.size;
            first || bytes <= PAGE_BYTES
        });
        rows.truncate(fit.count());
        let large: Vec<i64> = rows.iter().filter(|row| row.stanza.is_none()).map(|row| row.id.0).collect();
        let mut large = if large.is_empty() { Vec::new() } else { self.store.stanzas(archive, &large).await? };
        let more = rows.len() < found;
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let stanza = match row.stanza {
                Some(stanza) => stanza,
                None => match large.iter().position(|(id, _)| *id == row.id) {
                    Some(position) => large.swap_remove(position).1,
                    // Deleted a moment ago.
                    None => continue,
                },
            };
            messages.push(Kept { id: row.id, stanza });
        }
        Ok((messages, more))
    }

    fn language(&self) -> &str {
        self.indexer.as_ref().map_or("simple", |indexer| indexer.language())
    }
}

impl Outcome {
    fn empty() -> Outcome {
        let summary = Summary { ends: None, complete: true, count: Some(0) };
        Outcome { messages: Vec::new(), summary }
    }
}

/// What is said of an archive (§5).
fn metadata(ends: Option<(ArchiveId, ArchiveId)>) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("metadata").attribute("xmlns", MAM);
    if let Some((first, last)) = ends {
        for (name, id) in [("start", first), ("end", last)] {
            writer.open(name).attribute("id", &id.to_string());
            writer.attribute("timestamp", &date_time(id.milliseconds())).close();
        }
    }
    element(writer.finish())
}

/// A result (§4.2): the stanza as it was stored, byte by byte, and when that was.
fn result(query_id: Option<&str>, message: &Kept) -> Result<Element, Fault> {
    let mut writer = Writer::with_capacity(message.stanza.len() + 256);
    writer.open("result").attribute("xmlns", MAM).optional_attribute("queryid", query_id);
    writer.attribute("id", &message.id.to_string());
    writer.open("forwarded").attribute("xmlns", "urn:xmpp:forward:0");
    writer.open("delay").attribute("xmlns", "urn:xmpp:delay");
    writer.attribute("stamp", &date_time(message.id.milliseconds())).close();
    writer.raw(&message.stanza);
    element(writer.finish())
}
