//! The next page to deliver: rows of the table, and what lies behind the cursor in the archive, in the order of their ids.

use std::collections::HashSet;
use std::time::Duration;

use waxwing_core::address::BareJid;
use waxwing_core::archive::{Archive, ArchiveId, Kept as Archived, Stretch};
use waxwing_core::stanza::Stanza;
use waxwing_storage::StorageError;

use crate::delivery::Delivery;
use crate::keeping;
use crate::store::Kept;

/// How many messages make a page.
const PAGE_MESSAGES: u32 = 200;
/// How many bytes make a page: a part of what may wait for one client, so that other stanzas have room.
const PAGE_BYTES: u32 = 256 * 1024;
/// Before the cursor is looked at again that somebody else is writing.
const MOMENT: Duration = Duration::from_millis(2);

/// Where a message is kept, and its id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the table.
    Row(i64),
    /// In the archive, behind the cursor.
    Archive(i64),
}

impl Source {
    /// The id.
    pub fn id(self) -> i64 {
        match self {
            Source::Row(id) | Source::Archive(id) => id,
        }
    }

    /// The ids of rows, and those of archived messages.
    pub fn sort<'a>(sources: impl Iterator<Item = &'a Source>) -> (Vec<i64>, Vec<i64>) {
        let (mut rows, mut archived) = (Vec::new(), Vec::new());
        for source in sources {
            match source {
                Source::Row(id) => rows.push(*id),
                Source::Archive(id) => archived.push(*id),
            }
        }
        (rows, archived)
    }
}

/// A message to be delivered.
pub struct Item {
    /// Where it is kept.
    pub source: Source,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at: i64,
    /// As it is delivered.
    pub stanza: Stanza,
}

/// A page.
pub struct Page {
    /// Its messages, in order.
    pub items: Vec<Item>,
    /// Rows that nobody needs any more.
    pub worthless: Vec<i64>,
    /// Up to which id the archive is read with it.
    pub archive_read_until: Option<i64>,
    /// Whether there was nothing behind it.
    pub is_last: bool,
}

/// How far the delivery to one session has come.
#[derive(Default)]
pub struct Place {
    stored: Option<u64>,
    rows_after: i64,
    is_trimmed: bool,
    unreadable: HashSet<i64>,
}

impl Place {
    /// So much has been stored until now: if that is news, it may stand anywhere.
    pub fn look(&mut self, stored: u64) {
        if self.stored.replace(stored) != Some(stored) {
            self.rows_after = 0;
        }
    }

    /// What was read was not handed over.
    pub fn begin_again(&mut self) {
        self.rows_after = 0;
    }
}

/// Reads the next page for an account. What the client has found in the archive for itself, up to `known`, is left out.
///
/// # Errors
/// What storage failed with.
pub async fn read(
    delivery: &Delivery,
    account: &BareJid,
    known: Option<ArchiveId>,
    place: &mut Place,
) -> Result<Page, StorageError> {
    let archive = delivery.context.contracts().archive();
    let mut archived = match archive {
        Some(archive) => match behind_the_cursor(delivery, archive.as_ref(), account, known, place).await? {
            Some(archived) => archived,
            None => {
                tokio::time::sleep(MOMENT).await;
                return Ok(Page { items: Vec::new(), worthless: Vec::new(), archive_read_until: None, is_last: false });
            }
        },
        None => Vec::new(),
    };
    // Before they are read: one that is deleted meanwhile is still among them, and is not handed over any more.
    let handed = delivery.depots.handed(account);
    let mut rows = delivery.store.page(account, place.rows_after, PAGE_MESSAGES, PAGE_BYTES).await?;
    // Whichever place was read less far decides how far both go now.
    let rows_until = if is_last(&rows) { i64::MAX } else { rows.last().map_or(i64::MAX, |row| row.id) };
    let until = rows_until.min(archived.last().map_or(i64::MAX, |message| message.id.0));
    rows.retain(|row| row.id <= until);
    archived.retain(|message| message.id.0 <= until);
    let is_last = until == i64::MAX;
    place.rows_after = rows.last().map_or(place.rows_after, |row| row.id);
    let archive_read_until = archived.last().map(|message| message.id.0);

    let mut items = Vec::with_capacity(rows.len() + archived.len());
    let mut worthless = Vec::new();
    let mut in_archive = Vec::new();
    let free = delivery.free(account, &rows.iter().map(|row| row.id).collect::<Vec<_>>());
    for Kept { id, content } in rows {
        if handed.contains(&id) || !free.contains(&id) || place.unreadable.contains(&id) {
            continue;
        }
        match content {
            Ok((_, stanza)) if stanza.is_empty() && known.is_some_and(|known| id <= known.0) => worthless.push(id),
            Ok((_, stanza)) if stanza.is_empty() => in_archive.push(ArchiveId(id)),
            Ok((stored_at, stanza)) => match delivery.read(id, stored_at, stanza) {
                Ok(stanza) => items.push(Item { source: Source::Row(id), stored_at, stanza }),
                Err(_) => drop(place.unreadable.insert(id)),
            },
            Err(why) => {
                waxwing_core::fault::Fault::new(format_args!("offline message {id} cannot be read: {why}"));
                place.unreadable.insert(id);
            }
        }
    }
    if let (Some(archive), false) = (archive, in_archive.is_empty()) {
        let found = archive.read_these(account, &in_archive).await?;
        // Deleted from the archive meanwhile, because its time was over.
        worthless.extend(in_archive.iter().filter(|id| !found.iter().any(|kept| kept.id == **id)).map(|id| id.0));
        for message in found {
            let id = message.id;
            match from_archive(delivery, account, message) {
                Some(stanza) if !keeping::is_retracted(&stanza) => {
                    items.push(Item { source: Source::Row(id.0), stored_at: id.milliseconds(), stanza });
                }
                _ => worthless.push(id.0),
            }
        }
    }
    for message in archived {
        let id = message.id;
        if let Some(stanza) = from_archive(delivery, account, message)
            && keeping::is_for(account, &stanza)
        {
            items.push(Item { source: Source::Archive(id.0), stored_at: id.milliseconds(), stanza });
        }
    }
    items.sort_by_key(|item| item.source.id());
    Ok(Page { items, worthless, archive_read_until, is_last })
}

/// What lies behind the cursor next; none when nobody can say now.
async fn behind_the_cursor(
    delivery: &Delivery,
    archive: &dyn Archive,
    account: &BareJid,
    known: Option<ArchiveId>,
    place: &mut Place,
) -> Result<Option<Vec<Archived>>, StorageError> {
    let depots = &delivery.depots;
    if depots.with_cursor(account, |cursor| cursor.is_unread()) == Some(true) {
        let says = delivery.store.cursor(account).await?;
        depots.with_cursor(account, |cursor| cursor.learn(says));
        if depots.with_cursor(account, |cursor| cursor.is_unread()) == Some(true) {
            return Ok(None);
        }
    }
    let Some(begins) = depots.with_cursor(account, |cursor| cursor.begins()).flatten() else {
        return Ok(Some(Vec::new()));
    };
    let mut after = ArchiveId(begins);
    if !place.is_trimmed {
        after = after.max(known.unwrap_or(after));
        if let Some(newest) = archive.newest_begin(account, after, delivery.most_archived).await? {
            tracing::info!(%account, most = delivery.most_archived, "offline.only_the_newest");
            after = newest;
        }
        place.is_trimmed = true;
        depots.with_cursor(account, |cursor| cursor.skip_to(after.0));
    }
    let stretch = Stretch { after: Some(after), before: None, newest: false, most: PAGE_MESSAGES as usize };
    archive.read(account, stretch).await.map(Some)
}

/// A message of the archive as it is delivered; none when it cannot be read.
fn from_archive(delivery: &Delivery, account: &BareJid, message: Archived) -> Option<Stanza> {
    let mut stanza = delivery.read(message.id.0, message.id.milliseconds(), message.stanza).ok()?;
    keeping::mark_archived(&mut stanza, account, message.id).ok()?;
    Some(stanza)
}

/// Whether there was nothing more behind these rows when they were read.
fn is_last(rows: &[Kept]) -> bool {
    let bytes = rows.iter().map(|kept| kept.content.as_ref().map_or(0, |(_, stanza)| stanza.len())).sum::<usize>();
    // The stanzas of archived ones are not in the table, and they count: so many of them cannot fill a page.
    let archived = rows.iter().any(|kept| kept.content.as_ref().is_ok_and(|(_, stanza)| stanza.is_empty()));
    rows.len() < PAGE_MESSAGES as usize && bytes < PAGE_BYTES as usize && (!archived || rows.is_empty())
}
