//! Client state (XEP-0352): a client whose user does not look is told later what can wait, and in order.
//!
//! What is held is in the session (`core::held`), so that it survives a lost stream; `importance.rs` decides what can wait.

mod importance;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::BareJid;
use waxwing_core::events::{Event, Happening};
use waxwing_core::held::Held;
use waxwing_core::limits::{ByteSize, Count};
use waxwing_core::module::{
    Context, Manifest, Module, Phase, Plan, SettingsDescription, StartError, StreamElement, Xep,
};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::Stanza;
use waxwing_core::stream_error::StreamError;
use waxwing_core::xml::Element;

use importance::{Importance, Kind, importance};

const CSI: &str = "urn:xmpp:csi:0";

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(async move { start(context) }) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "csi",
    summary: "holds back what can wait from clients whose users do not look",
    xeps: &[Xep::complete(352, "1.0.0")],
    stages: &[Standing::all(Stage::Hold)],
    stream: &[StreamElement { namespace: CSI, name: "active" }, StreamElement { namespace: CSI, name: "inactive" }],
    hears: &[Happening::SessionResumed],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether presence waits. The client gets the newest of each address when its user looks again.
    pub hold_presence: bool,
    /// Whether it waits that somebody is writing.
    pub hold_chat_states: bool,
    /// Whether it waits what contacts publish: avatars, moods and the like.
    pub hold_published: bool,
    /// How many stanzas may wait for one client. With one more all of them are sent.
    pub held_stanzas: Count,
    /// How many bytes of stanzas may wait for one client.
    pub held_bytes: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hold_presence: true,
            hold_chat_states: true,
            hold_published: true,
            held_stanzas: Count::of(256),
            held_bytes: ByteSize::kibibytes(256),
        }
    }
}

fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    Ok(Arc::new(ClientState { settings: context.settings()? }))
}

struct ClientState {
    settings: Settings,
}

#[async_trait]
impl Module for ClientState {
    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        // At Hold there is one recipient: the session whose writer asks.
        let Some(session) = parcel.recipients.first().filter(|session| session.has_note::<Held>()) else {
            return Ok(Pass::Onward);
        };
        let account = session.account();
        Ok(session.with_note(|held: &mut Held| self.settings.decide(held, &parcel.stanza, account)))
    }

    async fn stream(&self, session: &Arc<Session>, element: Element) -> Result<(), StreamError> {
        if element.name() == "inactive" {
            session.with_note(|held: &mut Held| held.asleep = true);
        } else {
            wake(session);
        }
        Ok(())
    }

    async fn hear(&self, event: &Event) {
        // A resumed stream begins active (§5.2).
        if let Event::SessionResumed { session, .. } = event {
            wake(session);
        }
    }

    fn stream_features(&self, phase: Phase) -> Vec<Bytes> {
        match phase {
            Phase::Binding => vec![Bytes::from_static(b"<csi xmlns='urn:xmpp:csi:0'/>")],
            Phase::Authenticating => Vec::new(),
        }
    }
}

/// The user looks: what waits goes out before whatever comes from now on (§5.1).
fn wake(session: &Session) {
    if session.has_note::<Held>() {
        session.with_note(|held: &mut Held| held.asleep = false);
        session.let_go();
    }
}

impl Settings {
    /// What is done with a stanza for a client of `account`, from whom this is held back already.
    fn decide(&self, held: &mut Held, stanza: &Stanza, account: &BareJid) -> Pass {
        if !held.asleep {
            // It has just woken, and what waits has not gone out yet.
            held.let_go();
            return Pass::Onward;
        }
        match importance(stanza, account) {
            Importance::CanWait(kind) if self.holds(&kind) => {
                held.forget(|older| {
                    let older = &older.stanza;
                    let may_be = older.from == stanza.from && older.kind() == stanza.kind();
                    may_be && matches!(importance(older, account), Importance::CanWait(older) if older.is_outdated_by(&kind))
                });
                let fits =
                    self.held_stanzas.allows(held.len() + 1) && self.held_bytes.allows(held.bytes() + stanza.size());
                if fits {
                    return Pass::Taken;
                }
                held.let_go();
            }
            Importance::CanWait(_) | Importance::GoesAlone => {}
            Importance::WakesUp => held.let_go(),
        }
        Pass::Onward
    }

    fn holds(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Presence(_) => self.hold_presence,
            Kind::ChatState(..) => self.hold_chat_states,
            Kind::Published(..) => self.hold_published,
        }
    }
}
