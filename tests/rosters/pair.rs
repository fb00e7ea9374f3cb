//! Two people whose servers believe different things of each other, as it happens between servers, made with nothing
//! but what clients may say: whoever is blocked speaks without being heard.

use waxwing_testkit::{RawClient, Scene};

use crate::common::SERVER;

/// How far somebody has come on the way to see the other, on his own server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outward {
    /// Does not see the other and has not asked.
    Nothing,
    /// Has asked and got no answer: *Pending Out*.
    Asked,
    /// Sees the other: *To*.
    Sees,
}

/// How far the other has come on the way to see somebody, on this somebody's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inward {
    /// Is not seen and was not asked.
    Nothing,
    /// Was asked and has not answered: *Pending In*.
    Pending,
    /// Is seen: *From*.
    Seen,
}

/// What one server believes: the nine states of RFC 6121, appendix A.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub outward: Outward,
    pub inward: Inward,
}

impl State {
    /// The attributes of a roster item in this state.
    pub fn item(self) -> &'static str {
        match (self.outward, self.inward == Inward::Seen) {
            (Outward::Nothing, false) => "subscription='none'",
            (Outward::Asked, false) => "subscription='none' ask='subscribe'",
            (Outward::Sees, false) => "subscription='to'",
            (Outward::Nothing, true) => "subscription='from'",
            (Outward::Asked, true) => "subscription='from' ask='subscribe'",
            (Outward::Sees, true) => "subscription='both'",
        }
    }
}

/// Romeo and Juliet, each with one session, not online yet, that has asked for no roster.
pub struct Pair {
    pub scene: Scene,
    pub romeo: RawClient,
    pub juliet: RawClient,
}

impl Pair {
    /// A pair in these states.
    pub async fn new(romeo: State, juliet: State) -> Pair {
        let scene = SERVER.scene().await;
        let mut pair =
            Pair { romeo: scene.session("romeo/orchard").await, juliet: scene.session("juliet/balcony").await, scene };
        lead(&mut pair.romeo, &mut pair.juliet, romeo.outward, juliet.inward).await;
        lead(&mut pair.juliet, &mut pair.romeo, juliet.outward, romeo.inward).await;
        pair
    }

    /// Both ask for their rosters and come online; what comes of that is taken in.
    pub async fn come_online(&mut self) {
        for client in [&mut self.romeo, &mut self.juliet] {
            client.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>").await;
            client.drain().await;
        }
        self.romeo.drain().await;
    }
}

/// Somebody says a word about a subscription to somebody else; everything that comes of it is taken in.
pub async fn say(word: &str, speaker: &mut RawClient, listener: &mut RawClient) {
    speaker.send_bytes(format!("<presence type='{word}' to='{}'/>", listener.bare())).await;
    speaker.drain().await;
    listener.drain().await;
}

/// Somebody blocks or unblocks somebody else.
pub async fn block(word: &str, client: &mut RawClient, other: &str) {
    let items = format!("<{word} xmlns='urn:xmpp:blocking'><item jid='{other}'/></{word}>");
    client.send_bytes(format!("<iq type='set' id='{word}'>{items}</iq>")).await;
    client.drain().await;
}

/// Somebody says a word that the other's server does not hear: it changes what the speaker's own server believes.
pub async fn say_unheard(word: &str, speaker: &mut RawClient, listener: &mut RawClient) {
    block("block", listener, speaker.bare()).await;
    say(word, speaker, listener).await;
    block("unblock", listener, speaker.bare()).await;
}

/// Leads one direction from nothing to what the watcher's and the watched one's server shall believe of it.
async fn lead(watcher: &mut RawClient, watched: &mut RawClient, outward: Outward, inward: Inward) {
    if (outward, inward) != (Outward::Nothing, Inward::Nothing) {
        say("subscribe", watcher, watched).await;
    }
    if outward == Outward::Sees || inward == Inward::Seen {
        say("subscribed", watched, watcher).await;
    }
    match (outward, inward) {
        (Outward::Sees, Inward::Nothing) | (Outward::Asked, Inward::Nothing) => {
            say_unheard("unsubscribed", watched, watcher).await;
        }
        (Outward::Sees, Inward::Pending) => {
            say_unheard("unsubscribed", watched, watcher).await;
            say("subscribe", watcher, watched).await;
        }
        (Outward::Asked, Inward::Seen) => {
            say_unheard("unsubscribe", watcher, watched).await;
            say_unheard("subscribe", watcher, watched).await;
        }
        (Outward::Nothing, Inward::Pending | Inward::Seen) => say_unheard("unsubscribe", watcher, watched).await,
        (Outward::Nothing, Inward::Nothing) | (Outward::Asked, Inward::Pending) | (Outward::Sees, Inward::Seen) => {}
    }
}
