//! What an account has chosen for a conversation: to be notified always, when it is mentioned, or never (XEP-0492). Stands in
//! its bookmarks (XEP-0402), in the item of the conversation.

use waxwing_core::push::Circle;
use waxwing_core::xml::Child;

/// The node of bookmarks.
pub const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
const NOTIFY: &str = "urn:xmpp:notification-settings:1";

/// What an account has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Every message.
    Always,
    /// Messages that mention the account.
    OnMention,
    /// None.
    Never,
}

/// What a bookmark says about one conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    /// What was chosen.
    pub choice: Option<Choice>,
    /// The name of the account in the room.
    pub nickname: Option<String>,
}

/// Reads the payload of an item. Of several choices that for telephones counts, or else that for clients, or the one for
/// everything (§3): what is called are telephones.
pub fn read(bookmark: Child<'_>) -> Bookmark {
    let nickname = bookmark.child(BOOKMARKS, "nick").map(|nick| nick.text().into_owned());
    let inside = bookmark.child(BOOKMARKS, "extensions").and_then(|extensions| extensions.child(NOTIFY, "notify"));
    let notify = inside.or_else(|| bookmark.child(NOTIFY, "notify"));
    let choices = notify.into_iter().flat_map(|notify| notify.children()).filter(|child| child.namespace() == NOTIFY);
    let ranked = choices.filter_map(|child| Some((rank(child)?, choice(child.name())?)));
    // The first of those that fit equally well.
    let best = ranked.fold(None, |best: Option<(u8, Choice)>, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    });
    Bookmark { choice: best.map(|(_, choice)| choice), nickname }
}

fn choice(name: &str) -> Option<Choice> {
    match name {
        "always" => Some(Choice::Always),
        "on-mention" => Some(Choice::OnMention),
        "never" => Some(Choice::Never),
        _ => None,
    }
}

/// How closely a choice is for telephones; `None` when it is not for them.
fn rank(child: Child<'_>) -> Option<u8> {
    match (child.attribute("identity-category").as_deref(), child.attribute("identity-type").as_deref()) {
        (Some("client"), Some("phone")) => Some(2),
        (Some("client"), None) => Some(1),
        (None, None) => Some(0),
        _ => None,
    }
}

/// Whether a device may be called.
pub fn may_call(choice: Option<Choice>, circle: Circle, is_mention: bool) -> bool {
    match (choice, circle) {
        (Some(Choice::Never), _) => false,
        (Some(Choice::Always), _) | (None, Circle::Private) => true,
        (Some(Choice::OnMention), _) | (None, Circle::Public) => is_mention,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn chosen(choices: &str) -> Bookmark {
        let xml = format!(
            "<conference xmlns='urn:xmpp:bookmarks:1' name='Council'><nick>Nurse</nick><extensions>\
             <notify xmlns='urn:xmpp:notification-settings:1'>{choices}</notify></extensions></conference>"
        );
        read(element(xml).unwrap().as_child())
    }

    #[test]
    fn the_choice_for_telephones_counts() {
        for (choices, wanted) in [
            ("<never/>", Some(Choice::Never)),
            ("<on-mention/>", Some(Choice::OnMention)),
            ("", None),
            ("<often/>", None),
            ("<never identity-category='client' identity-type='pc'/><always/>", Some(Choice::Always)),
            ("<always/><never identity-category='client'/>", Some(Choice::Never)),
            (
                "<always/><never identity-category='client'/><on-mention identity-category='client' identity-type='phone'/>",
                Some(Choice::OnMention),
            ),
            ("<never identity-category='gateway'/>", None),
            ("<never xmlns='urn:other'/>", None),
        ] {
            assert_eq!(chosen(choices).choice, wanted, "{choices}");
        }
        assert_eq!(chosen("").nickname.as_deref(), Some("Nurse"));
        let plain = element("<conference xmlns='urn:xmpp:bookmarks:1'/>").unwrap();
        assert_eq!(read(plain.as_child()), Bookmark::default());
    }

    #[test]
    fn without_a_choice_public_rooms_call_for_mentions_only() {
        use Circle::{Private, Public};
        for (choice, circle, is_mention, wanted) in [
            (None, Private, false, true),
            (None, Public, false, false),
            (None, Public, true, true),
            (Some(Choice::Never), Private, true, false),
            (Some(Choice::OnMention), Private, false, false),
            (Some(Choice::OnMention), Private, true, true),
            (Some(Choice::Always), Public, false, true),
        ] {
            assert_eq!(may_call(choice, circle, is_mention), wanted, "{choice:?} {circle:?} {is_mention}");
        }
    }
}
