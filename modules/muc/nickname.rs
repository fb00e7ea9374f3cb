//! Nicknames: which are acceptable, and when two are too alike to stand beside each other (XEP-0045 §7.2.8, §17.1).

use unicode_normalization::UnicodeNormalization as _;
use waxwing_core::address::ResourceRef;
use waxwing_core::refusal::Refusal;

/// What two nicknames have in common when a person would take them for the same: letters without their case, spelled
/// the same way, without what cannot be seen. Two people in a room never have the same one.
///
/// An address has been through resourceprep when it was read; this is stricter.
pub fn likeness(nick: &str) -> String {
    let mut likeness = String::with_capacity(nick.len());
    let mut space = false;
    for character in nick.nfkc().filter(|character| !is_invisible(*character)) {
        if character.is_whitespace() {
            space = !likeness.is_empty();
            continue;
        }
        if std::mem::take(&mut space) {
            likeness.push(' ');
        }
        likeness.extend(character.to_lowercase());
    }
    // Lower case may bring forth what can be composed again.
    likeness.nfkc().collect()
}

/// Characters that leave no mark: fillers, joiners, directions, variations.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
        || character.is_control()
}

/// Whether somebody may be called so.
///
/// # Errors
/// `not-acceptable` when the name cannot be seen or is longer than `most_bytes`.
pub fn check(nick: &ResourceRef, most_bytes: usize) -> Result<(), Refusal> {
    if nick.as_str().len() > most_bytes {
        return Err(Refusal::not_acceptable().saying(format!("a nickname has at most {most_bytes} bytes")));
    }
    if likeness(nick.as_str()).is_empty() {
        return Err(Refusal::not_acceptable().saying("a nickname must be visible"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::address::{Jid, ResourcePart};

    #[test]
    fn s20_look_alikes_conflict() {
        for alike in [
            "thirdwitch",
            "ThirdWitch",
            " thirdwitch ",
            "third\u{200B}witch",
            "ｔｈｉｒｄｗｉｔｃｈ",
            "thirdwitch\u{FE0F}",
        ] {
            assert_eq!(likeness(alike), likeness("thirdwitch"), "{alike:?}");
        }
        assert_eq!(likeness("third  witch"), likeness("third witch"));
        assert_ne!(likeness("third witch"), likeness("thirdwitch"));
        assert_eq!(likeness("e\u{301}"), likeness("É"));
        assert_eq!(likeness("ﬁ"), likeness("FI"));
    }

    /// What resourceprep makes of an address, the room sees: two spellings of one name are one.
    #[test]
    fn s20_addresses_are_prepared_before_they_are_compared() {
        let nick = |address: &str| Jid::new(address).unwrap().resource().unwrap().as_str().to_owned();
        assert_eq!(nick("coven@chat.lit/e\u{301}va"), nick("coven@chat.lit/éva"));
        assert_eq!(nick("coven@chat.lit/ⅳ"), "iv");
    }

    #[test]
    fn an_invisible_or_endless_name_is_refused() {
        let check = |name: &str| {
            let part = ResourcePart::new(name).unwrap().into_owned();
            check(&part, 64).map_err(|refusal| refusal.condition.name())
        };
        assert_eq!(check("oldhag"), Ok(()));
        assert_eq!(check("♚"), Ok(()));
        for name in ["   ", "\u{3164}", "\u{2800} \u{2800}", &"x".repeat(65)] {
            assert_eq!(check(name), Err("not-acceptable"), "{name:?}");
        }
    }
}
