//! Hats: titles that a room has and some of its people wear (XEP-0317).

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use waxwing_core::address::BareJid;
use waxwing_core::xml::Writer;

use crate::protocol::HATS;

/// So many hats a room may have, and one person wear.
const MOST_HATS: usize = 50;
/// So many people may wear hats in one room.
const MOST_WEARERS: usize = 1000;

/// A hat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hat {
    /// What it is known by.
    pub uri: String,
    /// What people see.
    pub title: String,
    /// Its colour, an angle.
    pub hue: Option<String>,
}

/// The hats of a room and who wears them. Kept as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hats {
    hats: Vec<Hat>,
    /// The URIs of what somebody wears.
    #[serde(with = "by_address")]
    worn: BTreeMap<BareJid, Vec<String>>,
}

impl Hats {
    /// All hats.
    pub fn all(&self) -> &[Hat] {
        &self.hats
    }

    /// The hat of this URI.
    pub fn get(&self, uri: &str) -> Option<&Hat> {
        self.hats.iter().find(|hat| hat.uri == uri)
    }

    /// Who wears which hats.
    pub fn worn(&self) -> impl Iterator<Item = (&BareJid, &Hat)> {
        self.worn
            .iter()
            .flat_map(move |(account, uris)| uris.iter().filter_map(move |uri| Some((account, self.get(uri)?))))
    }

    /// Who wears this hat.
    pub fn wearers(&self, uri: &str) -> Vec<BareJid> {
        let wears =
            |(account, uris): (&BareJid, &Vec<String>)| uris.iter().any(|worn| worn == uri).then(|| account.clone());
        self.worn.iter().filter_map(wears).collect()
    }

    /// Makes a hat, or another one of the same URI; false when there are too many.
    pub fn put(&mut self, hat: Hat) -> bool {
        if let Some(known) = self.hats.iter_mut().find(|known| known.uri == hat.uri) {
            *known = hat;
            return true;
        }
        let fits = self.hats.len() < MOST_HATS;
        if fits {
            self.hats.push(hat);
        }
        fits
    }

    /// Removes a hat from the room and from everyone who wears it; false when there was none.
    pub fn remove(&mut self, uri: &str) -> bool {
        let before = self.hats.len();
        self.hats.retain(|hat| hat.uri != uri);
        for uris in self.worn.values_mut() {
            uris.retain(|worn| worn != uri);
        }
        self.worn.retain(|_, uris| !uris.is_empty());
        self.hats.len() < before
    }

    /// Puts a hat on somebody; false when there are too many who wear one.
    pub fn assign(&mut self, account: BareJid, uri: &str) -> bool {
        if self.worn.len() >= MOST_WEARERS && !self.worn.contains_key(&account) {
            return false;
        }
        let worn = self.worn.entry(account).or_default();
        if !worn.iter().any(|known| known == uri) {
            worn.push(uri.to_owned());
        }
        true
    }

    /// Takes a hat off somebody; false when he did not wear it.
    pub fn unassign(&mut self, account: &BareJid, uri: &str) -> bool {
        let Some(worn) = self.worn.get_mut(account) else { return false };
        let before = worn.len();
        worn.retain(|known| known != uri);
        let is_less = worn.len() < before;
        if worn.is_empty() {
            self.worn.remove(account);
        }
        is_less
    }

    /// Writes what somebody wears; nothing when he wears none.
    pub fn write_of(&self, writer: &mut Writer, account: &BareJid) {
        let Some(worn) = self.worn.get(account) else { return };
        writer.open("hats").attribute("xmlns", HATS);
        for hat in worn.iter().filter_map(|uri| self.get(uri)) {
            writer.open("hat").attribute("title", &hat.title).attribute("uri", &hat.uri);
            writer.optional_attribute("hue", hat.hue.as_deref()).close();
        }
        writer.close();
    }

    /// A hash that changes with the hats (§2); none when there are no hats.
    pub fn hash(&self) -> Option<String> {
        if self.hats.is_empty() {
            return None;
        }
        let mut context = digest::Context::new(&digest::SHA256);
        for hat in &self.hats {
            for text in [&hat.uri, &hat.title, hat.hue.as_ref().unwrap_or(&String::new())] {
                context.update(text.as_bytes());
                context.update(&[0]);
            }
        }
        Some(context.finish().as_ref().iter().take(20).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A map by addresses as JSON has it: by texts. What is no address is left out.
mod by_address {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};
    use waxwing_core::address::BareJid;

    type Worn = BTreeMap<BareJid, Vec<String>>;

    pub fn serialize<S: Serializer>(worn: &Worn, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(worn.iter().map(|(account, uris)| (account.as_str(), uris)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Worn, D::Error> {
        let read = BTreeMap::<String, Vec<String>>::deserialize(deserializer)?;
        Ok(read.into_iter().filter_map(|(account, uris)| Some((BareJid::new(&account).ok()?, uris))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hats_come_and_go_with_those_who_wear_them() {
        let (anna, ben) = (BareJid::new("anna@a.lit").unwrap(), BareJid::new("ben@a.lit").unwrap());
        let hat = |uri: &str| Hat { uri: uri.to_owned(), title: "<T>".to_owned(), hue: None };
        let mut hats = Hats::default();
        assert!(hats.hash().is_none());
        assert!(hats.put(hat("urn:1")) && hats.put(hat("urn:2")) && hats.put(hat("urn:1")));
        assert_eq!(hats.all().len(), 2);
        assert!(
            hats.assign(anna.clone(), "urn:1")
                && hats.assign(anna.clone(), "urn:1")
                && hats.assign(ben.clone(), "urn:2")
        );
        let mut writer = Writer::new();
        hats.write_of(&mut writer, &anna);
        assert_eq!(writer.finish(), "<hats xmlns='urn:xmpp:hats:0'><hat title='&lt;T&gt;' uri='urn:1'/></hats>");
        assert_eq!(hats.wearers("urn:1"), std::slice::from_ref(&anna));
        assert!(hats.remove("urn:1") && !hats.remove("urn:1"));
        assert!(!hats.unassign(&anna, "urn:1") && hats.unassign(&ben, "urn:2"));
        assert_eq!(hats.worn().count(), 0);
        let text = serde_json::to_string(&hats).unwrap();
        assert_eq!(serde_json::from_str::<Hats>(&text).unwrap(), hats);
    }
}
