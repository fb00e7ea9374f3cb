//! Preparation of names (RFC 3454): the `stringprep` crate, but that a resource may hold what Unicode has learnt since 2002.
//!
//! RFC 6122 prepares resources, and so nicknames in rooms, with a profile that knows Unicode 3.2. What was unassigned then,
//! most emoji among it, may stand in a "query" and not in a "stored string" (RFC 3454 §7). Other servers read every
//! address as a query, and RFC 7622 §3.4 takes such letters and signs anyway: whoever refuses them does not hear half of
//! the rooms out there. `docs/decisions/0019-younger-letters.md` says why it is done here.

use std::borrow::Cow;

pub use registry::*;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// A sign that Unicode 3.2 knows, which no mapping touches, which combines with nothing and has no direction: it stands
/// where a younger letter stands while everything around it is prepared.
const STAND_IN: char = '\u{263A}';

/// Prepares a resource (RFC 6122 Appendix B). Younger letters and signs stay as they are, as RFC 3454 §7.2 says; of them,
/// those that cannot be seen, or change how others are seen, are refused like their elders.
///
/// # Errors
/// When the text holds what a resource must not hold.
pub fn resourceprep(text: &str) -> Result<Cow<'_, str>, Error> {
    if !text.chars().any(is_younger) || text.chars().any(|character| is_younger(character) && !may_stand(character)) {
        return registry::resourceprep(text);
    }
    let stands_in = |character: &char| *character == STAND_IN || is_younger(*character);
    let mut kept = text.chars().filter(stands_in);
    let known: String =
        text.chars().map(|character| if is_younger(character) { STAND_IN } else { character }).collect();
    let prepared = registry::resourceprep(&known)?;
    // None is made, lost or moved: the n-th one of the result is the n-th one of the text.
    let restored = prepared.chars().map(|character| match character {
        STAND_IN => kept.next().unwrap_or(STAND_IN),
        character => character,
    });
    Ok(Cow::Owned(restored.collect()))
}

/// Whether Unicode 3.2 did not know a code point.
fn is_younger(character: char) -> bool {
    !character.is_ascii() && tables::unassigned_code_point(character)
}

/// Whether a younger code point may stand in a resource: a letter, a mark, a number, a sign, or what is still to come.
fn may_stand(character: char) -> bool {
    !matches!(
        character.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::Surrogate
    ) && !tables::non_character_code_point(character)
        && !tables::tagging_character(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prepared(text: &str) -> Option<String> {
        resourceprep(text).ok().map(Cow::into_owned)
    }

    #[test]
    fn c107_emoji_stay_as_they_are() {
        for text in
            ["\u{1F99C}", "phone \u{1F4F1}", "\u{1F9D9}\u{1F3FD}", "\u{1F1E9}\u{1F1EA}", "\u{263A}\u{1F600}\u{263A}"]
        {
            assert_eq!(prepared(text).as_deref(), Some(text), "{text:?}");
        }
        // Everything around them is prepared as ever.
        assert_eq!(
            prepared("ⅳ\u{1F600}e\u{301}\u{A0}\u{263A}\u{1F601}").as_deref(),
            Some("iv\u{1F600}\u{E9} \u{263A}\u{1F601}")
        );
        // A joiner is mapped to nothing, as it always was, and so is the wish for a coloured picture.
        assert_eq!(prepared("\u{1F469}\u{200D}\u{1F4BB}\u{FE0F}").as_deref(), Some("\u{1F469}\u{1F4BB}"));
    }

    #[test]
    fn c107_what_cannot_be_seen_is_refused_whatever_its_age() {
        for hidden in [
            '\u{200E}',
            '\u{202E}',
            '\u{2066}',
            '\u{61C}',
            '\u{1F}',
            '\u{E0001}',
            '\u{E0067}',
            '\u{1FFFE}',
            '\u{FDD0}',
            '\u{E000}',
        ] {
            for text in [format!("{hidden}"), format!("a{hidden}b"), format!("\u{1F600}{hidden}\u{1F600}")] {
                assert_eq!(prepared(&text), None, "{text:?}");
            }
        }
    }

    #[test]
    fn what_unicode_3_2_knows_is_prepared_as_ever() {
        for character in ('\0'..=char::MAX).filter(|character| !is_younger(*character)) {
            let text = character.to_string();
            assert_eq!(prepared(&text), registry::resourceprep(&text).ok().map(Cow::into_owned), "{text:?}");
        }
    }

    #[test]
    fn nothing_takes_the_place_of_the_stand_in() {
        assert!(!is_younger(STAND_IN));
        for character in '\0'..=char::MAX {
            let other = prepared(&character.to_string()).filter(|_| character != STAND_IN);
            assert!(other.is_none_or(|other| !other.contains(STAND_IN)), "{character:?}");
        }
    }

    #[test]
    fn preparing_twice_changes_nothing() {
        for character in '\0'..=char::MAX {
            for text in [character.to_string(), format!("\u{1F600}{character}e\u{301}")] {
                if let Some(once) = prepared(&text) {
                    assert_eq!(prepared(&once).as_ref(), Some(&once), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn mixtures_are_stable(text in "[a\u{e9}\u{301}\u{5d0}\u{263a}\u{1f600}\u{7c1}\u{200d}\u{ac00}\u{1161}\u{1d165} ]{0,12}") {
            if let Some(once) = prepared(&text) {
                prop_assert_eq!(prepared(&once), Some(once));
            }
        }
    }
}
