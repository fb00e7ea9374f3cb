//! Which names may be registered: those that the older and the newer rules for JIDs agree on (RFC 6122 nodeprep, RFC 7622
//! §3.3 with the IdentifierClass of RFC 8264; conformance row C109).
//!
//! JIDs are prepared by RFC 6122 here, as on most of the network; servers by RFC 7622 read some names differently or
//! not at all. An account with such a name would be two people, or nobody, to half of the network.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use waxwing_core::address::NodePart;

/// Prepares the name somebody asks for, and refuses it when the two preparations differ on how it was written.
///
/// # Errors
/// Why the name cannot be an account, for a person.
pub fn prepare(wanted: &str) -> Result<NodePart, String> {
    let prepared = NodePart::new(wanted).map(Cow::into_owned).map_err(|error| error.to_string())?;
    check(prepared.as_str())?;
    if prepared_by_7622(wanted).as_deref() == Some(prepared.as_str()) {
        Ok(prepared)
    } else {
        Err(format!("other servers would read the name in another way, write {prepared:?} if that is what you mean"))
    }
}

/// Whether a prepared name stays what it is under both preparations.
///
/// # Errors
/// Why it does not, for a person.
pub fn check(prepared: &str) -> Result<(), String> {
    match prepared.chars().find(|character| !is_agreed(*character)) {
        None => Ok(()),
        Some(character) => {
            Err(format!("a name is made of letters, digits and simple signs, not of U+{:04X}", u32::from(character)))
        }
    }
}

/// A name as RFC 7622 §3.3 prepares it (RFC 8265 §3.3): width, then class, then case and composition. None when it holds
/// what that refuses, compatibility forms above all.
fn prepared_by_7622(wanted: &str) -> Option<String> {
    let narrowed: String = wanted.chars().flat_map(narrowed).collect();
    let is_plain = |character: char| character.is_ascii() || [character].into_iter().nfkc().eq([character]);
    if !narrowed.chars().all(is_plain) {
        return None;
    }
    Some(narrowed.chars().flat_map(char::to_lowercase).nfc().collect())
}

/// A full-width or half-width form as what it is a form of; everything else as it is.
fn narrowed(character: char) -> impl Iterator<Item = char> {
    let is_form = matches!(character, '\u{FF00}'..='\u{FFEF}');
    let (form, other) = if is_form { (Some(character), None) } else { (None, Some(character)) };
    form.into_iter().nfkc().chain(other)
}

/// Whether a code point of a prepared name is valid under both preparations, and left as it is by both. Nodeprep has
/// refused what Unicode 3.2 did not know, and has folded and composed the rest.
fn is_agreed(character: char) -> bool {
    if character.is_ascii() {
        // Nodeprep leaves a capital letter behind where Unicode has got a new form of one since version 3.2.
        return character.is_ascii_graphic() && !character.is_ascii_uppercase();
    }
    is_letter_or_digit(character) && !is_exception(character) && character.to_lowercase().eq([character])
}

/// The LetterDigits of RFC 8264 §9.1.
fn is_letter_or_digit(character: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LowercaseLetter, ModifierLetter, NonspacingMark, OtherLetter, SpacingMark, UppercaseLetter,
    };
    matches!(
        character.general_category(),
        LowercaseLetter | UppercaseLetter | OtherLetter | DecimalNumber | ModifierLetter | NonspacingMark | SpacingMark
    )
}

/// Letters and digits on which the two differ, or which RFC 8264 allows only beside certain others.
fn is_exception(character: char) -> bool {
    matches!(
        character,
        // Nodeprep folds these into others, RFC 8264 §9.6 keeps them.
        '\u{00DF}' | '\u{03C2}'
        // Disallowed by RFC 8264 §9.6 although they are letters.
        | '\u{0640}' | '\u{07FA}' | '\u{302E}' | '\u{302F}' | '\u{3031}'..='\u{3035}' | '\u{303B}'
        // Allowed in context only (RFC 5892 Appendix A), which nodeprep does not know: both kinds of Arabic digits.
        | '\u{0660}'..='\u{0669}' | '\u{06F0}'..='\u{06F9}'
        // Old Hangul Jamo (RFC 8264 §9.9): nodeprep composes some of them into syllables.
        | '\u{1100}'..='\u{11FF}' | '\u{A960}'..='\u{A97F}' | '\u{D7B0}'..='\u{D7FF}'
        // Ignorable by default (RFC 8264 §9.13).
        | '\u{034F}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FFA0}'
    )
}

#[cfg(test)]
mod tests {
    use precis_profiles::UsernameCaseMapped;
    use precis_profiles::precis_core::profile::Profile;
    use waxwing_core::address::ResourcePart;

    use super::*;

    #[test]
    fn c109_what_is_registered_is_the_same_under_rfc_6122_and_rfc_7622() {
        let newer = UsernameCaseMapped::new();
        let (mut accepted, mut refused) = (0, 0);
        for character in (0..=0xFFFF).filter_map(char::from_u32) {
            // Alone, behind a Latin letter, and between Hebrew letters, where the rules for directions look closer.
            for wanted in [format!("{character}"), format!("a{character}"), format!("\u{5D0}{character}\u{5D0}")] {
                let Ok(prepared) = prepare(&wanted) else {
                    refused += 1;
                    continue;
                };
                accepted += 1;
                assert_eq!(prepare(prepared.as_str()).as_ref(), Ok(&prepared), "{wanted:?}");
                // The reference takes no mark between letters from right to left, which RFC 5893 §2 allows.
                let is_mark = narrowed(character).any(|c| c.general_category() == GeneralCategory::NonspacingMark);
                if is_mark && wanted.ends_with('\u{5D0}') {
                    continue;
                }
                let other = newer.enforce(wanted.as_str());
                assert_eq!(other.as_deref().ok(), Some(prepared.as_str()), "{wanted:?}: {other:?}");
            }
        }
        // Most of the plane are letters that both know; the private use area, symbols and younger scripts are refused.
        assert!(accepted > 80_000 && refused > 80_000, "{accepted} accepted, {refused} refused");
    }

    #[test]
    fn c109_preparing_twice_changes_nothing() {
        for character in (0..=0xFFFF).filter_map(char::from_u32) {
            let text = format!("{character}");
            let code = u32::from(character);
            if let Ok(once) = NodePart::new(&text)
                && NodePart::new(once.as_str()).as_deref() != Ok(&*once)
            {
                // Of what Unicode 3.2 did not know, some comes out as capital letters: nobody can have such a name.
                assert!(stringprep::tables::unassigned_code_point(character), "localpart U+{code:04X}");
                assert!(prepare(&text).is_err() && check(once.as_str()).is_err(), "localpart U+{code:04X}");
            }
            if let Ok(once) = ResourcePart::new(&text) {
                assert_eq!(ResourcePart::new(once.as_str()).as_deref(), Ok(&*once), "resource U+{code:04X}");
            }
        }
    }

    #[test]
    fn s23_names_written_in_other_ways_are_the_same_account() {
        for wanted in ["admin", "ADMIN", "ａｄｍｉｎ", "ＡＤＭＩＮ"] {
            assert_eq!(prepare(wanted).unwrap().as_str(), "admin", "{wanted}");
        }
        assert_eq!(prepare("Жанна").unwrap().as_str(), "жанна");
        assert_eq!(prepare("Cafe\u{301}").unwrap().as_str(), "café");
    }

    #[test]
    fn names_on_which_servers_differ_are_refused() {
        for wanted in [
            "",
            "\u{212A}elvin",
            "\u{1D2E}ob",
            "straße",
            "ﬁnn",
            "ad\u{AD}min",
            "admin\u{200B}",
            "admin\0",
            "love♥",
            "a b",
            "romeo@home",
            "x²",
            "Ⅷ",
            "ὀδυσσεύς",
        ] {
            assert!(prepare(wanted).is_err(), "{wanted:?}");
        }
        assert!(check("strasse").is_ok() && check("love♥").is_err() && check("Bob").is_err());
    }
}
