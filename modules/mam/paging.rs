//! Pages of a result (XEP-0059, XEP-0313 §4.3): which part of an archive a query wants, and what is said of it.
//!
//! A page is a stretch between two ids, read from one of its ends. Ids are in the order of time, so no page is ever
//! counted off from the beginning.

use waxwing_core::archive::ArchiveId;
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Writer;
use xmpp_parsers::rsm::SetQuery;

use crate::form::{self, Filter, MAM};

/// A stretch of ids, both bounds left out, and how much of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Only ids above this.
    pub low: i64,
    /// Only ids below this.
    pub high: i64,
    /// Whether to begin at the upper end. A page is in the order of time either way.
    pub newest: bool,
    /// How many messages at most.
    pub most: usize,
}

/// What a query wants: a window, and the messages it names, which must be there (§4.1.3, §4.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The page.
    pub window: Window,
    /// At most four.
    pub named: Vec<ArchiveId>,
    /// Whether the page could be all there is: RSM does not begin somewhere in the middle.
    pub from_the_end: bool,
}

impl Wanted {
    /// Reads what a query asks for; `most` is what the server gives at most.
    ///
    /// # Errors
    /// `item-not-found` for ids that are none of ours, `feature-not-implemented` for a page by its number (XEP-0059
    /// §2.6): it would have to be counted off.
    pub fn of(filter: &Filter, set: Option<&SetQuery>, most: usize) -> Result<Wanted, Refusal> {
        let mut window = Window {
            low: filter.from.map_or(0, |from| from.saturating_sub(1).max(0)),
            high: filter.until.unwrap_or(i64::MAX),
            newest: false,
            most,
        };
        let mut above: Vec<ArchiveId> = filter.after.into_iter().collect();
        let mut below: Vec<ArchiveId> = filter.before.into_iter().collect();
        let mut from_the_end = true;
        if let Some(set) = set {
            if set.index.is_some() {
                let text = "pages are asked for by the id before or behind them, not by a number";
                return Err(Refusal::feature_not_implemented().saying(text));
            }
            window.most = set.max.map_or(most, |max| max.min(most));
            // An empty `<before/>` is the last page (XEP-0059 §2.5).
            window.newest = set.before.is_some();
            if let Some(before) = set.before.as_deref().filter(|before| !before.is_empty()) {
                below.push(form::id(before)?);
                from_the_end = false;
            }
            if let Some(after) = set.after.as_deref() {
                above.push(form::id(after)?);
                from_the_end = false;
            }
        }
        for id in &above {
            window.low = window.low.max(id.0);
        }
        for id in &below {
            window.high = window.high.min(id.0);
        }
        let mut named = above;
        named.append(&mut below);
        named.sort();
        named.dedup();
        Ok(Wanted { window, named, from_the_end })
    }
}

impl Window {
    /// The page of a result whose ids are all known, in order; and whether there is more beyond it.
    pub fn page_of<'a>(&self, ids: &'a [i64]) -> (&'a [i64], bool) {
        let start = ids.partition_point(|id| *id <= self.low);
        let end = ids.partition_point(|id| *id < self.high).max(start);
        let within = &ids[start..end];
        let most = self.most.min(within.len());
        let page = if self.newest { &within[within.len() - most..] } else { &within[..most] };
        (page, page.len() < within.len())
    }
}

/// What is said of a page after its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The oldest and the newest message of the page; none of an empty one.
    pub ends: Option<(ArchiveId, ArchiveId)>,
    /// Whether there is nothing more in the direction of the page.
    pub complete: bool,
    /// How many messages there are beyond the page, itself included, where that is known without counting much.
    pub count: Option<usize>,
}

impl Summary {
    /// Writes `<fin/>`.
    pub fn write(&self, writer: &mut Writer) {
        writer.open("fin").attribute("xmlns", MAM);
        if self.complete {
            writer.attribute("complete", "true");
        }
        writer.open("set").attribute("xmlns", "http://jabber.org/protocol/rsm");
        if let Some((first, last)) = self.ends {
            writer.open("first");
            if self.count.is_some() {
                // The count is only known with a page when the page is all there is.
                writer.attribute("index", "0");
            }
            writer.text(&first.to_string()).close();
            writer.open("last").text(&last.to_string()).close();
        }
        if let Some(count) = self.count {
            writer.open("count").text(&count.to_string()).close();
        }
        writer.close().close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(max: Option<usize>, before: Option<&str>, after: Option<&str>) -> SetQuery {
        SetQuery { max, before: before.map(str::to_owned), after: after.map(str::to_owned), index: None }
    }

    #[test]
    fn the_page_is_never_larger_than_the_server_gives() {
        let most = |set: Option<&SetQuery>| Wanted::of(&Filter::default(), set, 100).unwrap().window.most;
        assert_eq!(most(None), 100);
        assert_eq!(most(Some(&set(None, None, None))), 100);
        assert_eq!(most(Some(&set(Some(10), None, None))), 10);
        assert_eq!(most(Some(&set(Some(0), None, None))), 0);
        assert_eq!(most(Some(&set(Some(usize::MAX), None, None))), 100);
    }

    #[test]
    fn bounds_of_form_and_page_hold_together() {
        let filter = Filter {
            from: Some(100),
            until: Some(900),
            after: Some(ArchiveId(200)),
            before: Some(ArchiveId(800)),
            ..Filter::default()
        };
        let wanted = Wanted::of(&filter, Some(&set(None, Some("700"), Some("300"))), 10).unwrap();
        assert_eq!(wanted.window, Window { low: 300, high: 700, newest: true, most: 10 });
        assert_eq!(wanted.named, [200, 300, 700, 800].map(ArchiveId));
        let wanted = Wanted::of(&filter, Some(&set(None, Some(""), None)), 10).unwrap();
        assert_eq!(wanted.window, Window { low: 200, high: 800, newest: true, most: 10 });
        assert!(wanted.from_the_end);
        let only_times = Filter { after: None, before: None, ..filter };
        let wanted = Wanted::of(&only_times, None, 10).unwrap();
        assert_eq!(wanted.window, Window { low: 99, high: 900, newest: false, most: 10 });
        assert_eq!(wanted.named, []);
    }

    #[test]
    fn foreign_ids_and_numbers_of_pages_are_refused() {
        let refusal = |set: SetQuery| Wanted::of(&Filter::default(), Some(&set), 10).unwrap_err().condition.name();
        assert_eq!(refusal(set(None, Some("abc"), None)), "item-not-found");
        assert_eq!(refusal(set(None, None, Some(""))), "item-not-found");
        assert_eq!(refusal(SetQuery { index: Some(3), ..set(None, None, None) }), "feature-not-implemented");
    }

    #[test]
    fn a_summary_counts_only_what_is_complete() {
        let written = |summary: Summary| {
            let mut writer = Writer::new();
            summary.write(&mut writer);
            String::from_utf8(writer.finish().to_vec()).unwrap()
        };
        let ends = Some((ArchiveId(3), ArchiveId(5)));
        assert_eq!(
            written(Summary { ends, complete: false, count: None }),
            "<fin xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><first>3</first><last>5</last></set></fin>"
        );
        assert_eq!(
            written(Summary { ends, complete: true, count: Some(2) }),
            "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'>\
             <first index='0'>3</first><last>5</last><count>2</count></set></fin>"
        );
        assert_eq!(
            written(Summary { ends: None, complete: true, count: Some(0) }),
            "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'><count>0</count></set></fin>"
        );
    }

    /// Pages through a result from one end to the other, as a client does.
    fn walk(ids: &[i64], newest: bool, most: usize) -> Vec<Vec<i64>> {
        let mut pages: Vec<Vec<i64>> = Vec::new();
        let mut bound = newest.then(String::new);
        loop {
            let set = if newest { set(None, bound.as_deref(), None) } else { set(None, None, bound.as_deref()) };
            let window = Wanted::of(&Filter::default(), Some(&set), most).unwrap().window;
            let (page, more) = window.page_of(ids);
            let next = if newest { page.first() } else { page.last() };
            bound = next.map(i64::to_string);
            pages.push(page.to_vec());
            if !more {
                return pages;
            }
        }
    }

    proptest! {
        #[test]
        fn walking_through_pages_shows_everything_once(
            ids in prop::collection::btree_set(1i64..1000, 0..60), most in 1usize..12, newest: bool,
        ) {
            let ids: Vec<i64> = ids.into_iter().collect();
            let mut pages = walk(&ids, newest, most);
            prop_assert!(pages.iter().all(|page| page.len() <= most));
            if newest {
                pages.reverse();
            }
            prop_assert_eq!(pages.concat(), ids);
        }

        #[test]
        fn a_page_is_the_end_of_what_lies_between(
            ids in prop::collection::btree_set(1i64..200, 0..60), low in 0i64..200, high in 0i64..200,
            most in 0usize..12, newest: bool,
        ) {
            let ids: Vec<i64> = ids.into_iter().collect();
            let within: Vec<i64> = ids.iter().copied().filter(|id| *id > low && *id < high).collect();
            let (page, more) = Window { low, high, newest, most }.page_of(&ids);
            prop_assert_eq!(more, within.len() > most);
            prop_assert_eq!(page.len(), within.len().min(most));
            let is_an_end = if newest { within.ends_with(page) } else { within.starts_with(page) };
            prop_assert!(is_an_end);
        }
    }
}
