//! Questions to the archive of a room (XEP-0313 §6.1.2), once the room has allowed them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waxwing_core::address::{self, BareJid};
use waxwing_core::answers::{Request, Scope};
use waxwing_core::archive::{Archive, Found};
use waxwing_core::parcel::{ForThisSession, Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{MessageType, Stanza, element};
use waxwing_core::xml::{Child, Element};

use crate::protocol::{FORM, FORWARD, USER};
use crate::rooms::Rooms;

/// How long results wait for a client that reads slowly.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at how much it has read.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers a question to the archive of a room.
///
/// # Errors
/// What whoever asked is told.
pub async fn answer(
    rooms: &Rooms,
    archive: &Arc<dyn Archive>,
    room: &BareJid,
    request: &Stanza,
    origin: &Origin,
    hides_addresses: bool,
) -> Result<(), Refusal> {
    if hides_addresses && asks_for_somebody(request, room) {
        return Err(Refusal::forbidden().saying("who hides behind a nickname is not told here"));
    }
    let asked = Request { stanza: request, scope: Scope::Account, session: origin.session(), stranger: None };
    let Found { results, answer, .. } = archive.query(room, asked).await?;
    let Some(from) = request.from.clone() else { return Ok(()) };
    for result in results {
        let result = if hides_addresses { without_addresses(&result)? } else { result };
        let message = Stanza::message(MessageType::Normal).from(room.clone()).to(from.clone()).with(result);
        bring(rooms, origin, message).await?;
    }
    rooms.courier.reply(origin, Stanza::result_of(request).with(answer)).await;
    Ok(())
}

/// Hands a result to whoever asked, and waits when a client of ours has too much to read already.
async fn bring(rooms: &Rooms, origin: &Origin, message: Stanza) -> Result<(), Refusal> {
    let Some(session) = origin.session() else {
        rooms.courier.reply(origin, message).await;
        return Ok(());
    };
    let not_read = || Refusal::resource_constraint().saying("the results are not read");
    let patience = Instant::now() + PATIENCE;
    while session.room() < message.size() {
        if Instant::now() >= patience || session.has_ended() {
            return Err(not_read());
        }
        sleep(PAUSE).await;
    }
    session.deliver(Parcel::new(message, Origin::House).noting(ForThisSession)).map_err(|_| not_read())
}

/// Whether a question is for what somebody said whose real address it names: messages from a time when the room showed
/// addresses would be found by it.
fn asks_for_somebody(request: &Stanza, room: &BareJid) -> bool {
    let is_other = |value: Child<'_>| address::read(&value.text()).is_ok_and(|with| with.to_bare() != *room);
    let forms = request.payloads().flat_map(|query| query.children()).filter(|child| child.namespace() == FORM);
    let fields =
        forms.flat_map(|form| form.children()).filter(|field| field.attribute("var").as_deref() == Some("with"));
    fields.flat_map(|field| field.children()).any(is_other)
}

/// A result without who spoke: it is from a time when the room showed everyone's address, and now it does not.
fn without_addresses(result: &Element) -> Result<Element, Refusal> {
    let messages = result.children().filter(|child| child.namespace() == FORWARD && child.name() == "forwarded");
    let messages = messages.flat_map(|forwarded| forwarded.children()).filter(|child| child.name() == "message");
    let unwanted: Vec<Child<'_>> =
        messages.flat_map(|message| message.children()).filter(|child| child.namespace() == USER).collect();
    if unwanted.is_empty() {
        return Ok(result.clone());
    }
    let bytes = result.as_bytes();
    // Where something stands is told from the beginning of the content, which stands before the end tag.
    let content = result.content();
    let end_tag = bytes.iter().rposition(|byte| *byte == b'<').unwrap_or(bytes.len());
    let start = end_tag.saturating_sub(content.len());
    let mut kept = Vec::with_capacity(bytes.len());
    let mut position = 0;
    for range in unwanted.iter().map(Child::range) {
        kept.extend_from_slice(bytes.get(position..start + range.start).unwrap_or_default());
        position = start + range.end;
    }
    kept.extend_from_slice(bytes.get(position..).unwrap_or_default());
    Ok(element(kept)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_looked_for_by_an_address_that_is_hidden() {
        let asks = |fields: &str| {
            let xml = format!(
                "<iq type='set' id='1'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>{fields}</x></query></iq>"
            );
            let request = Stanza::read(element(xml).unwrap()).unwrap().unwrap();
            asks_for_somebody(&request, &BareJid::new("coven@chat.lit").unwrap())
        };
        assert!(!asks(""));
        assert!(!asks("<field var='start'><value>2010-06-07T00:00:00Z</value></field>"));
        assert!(!asks("<field var='with'><value>Coven@chat.lit/thirdwitch</value></field>"));
        assert!(!asks("<field var='with'><value>coven@chat.lit</value></field>"));
        assert!(asks("<field var='with'><value>hag66@shakespeare.lit</value></field>"));
        assert!(asks(
            "<field var='with'><value>coven@chat.lit</value><value>hag66@shakespeare.lit/pda</value></field>"
        ));
    }

    #[test]
    fn addresses_from_other_times_are_left_out() {
        let result = |inside: &str| {
            format!(
                "<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay'/>\
                 <message xmlns='jabber:client' from='coven@chat.lit/n'><body>x</body>{inside}</message></forwarded></result>"
            )
        };
        let id = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='1'/>";
        let who = "<x xmlns='http://jabber.org/protocol/muc#user'><item jid='hag66@shakespeare.lit/pda'/></x>";
        let told = element(result(&format!("{who}{id}{who}"))).unwrap();
        let hidden = without_addresses(&told).unwrap();
        assert_eq!(hidden, element(result(id)).unwrap());
        assert_eq!(without_addresses(&hidden).unwrap(), hidden);
    }
}
