//! The named stages of a stanza's way (DESIGN: the way of a stanza). Order inside a stage is the order of `assembly.rs`.

use crate::stanza::Kind;

/// Where on its way a parcel is, each named by the question it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// May it leave? Limits, roles, blocking of one's own recipients.
    Vet,
    /// Who says so? Core writes `from` and strips forged ids.
    Stamp,
    /// What does it change in the sender's own account? Subscriptions, presence.
    SettleSent,
    /// Keep the sender's copy: it is promised here, and stored together with the recipient's.
    ArchiveSent,
    /// Tell the sender's other devices, if there are any: when what was promised is stored, also the recipient's copy where
    /// that is stored here. The stanza is as it has left.
    CopySent,
    /// Does the recipient admit it? Blocking, strangers, spam.
    Guard,
    /// What does it change in the recipient's account? Subscriptions, probes.
    SettleReceived,
    /// Keep the recipient's copy, before anyone sees its id.
    ArchiveReceived,
    /// Which devices get it? Core follows RFC 6121 §8.5.
    Choose,
    /// Tell the recipient's other devices.
    CopyReceived,
    /// Nobody is there: keep it, else it is refused.
    Rescue,
    /// It has arrived, in hands or in store. Is somebody away to be called to it? Nothing is turned back here.
    Notice,
    /// Is the client asleep? May hold a parcel back, per session.
    Hold,
    /// Keep it until the client has acknowledged it, per session.
    Count,
}

impl Stage {
    /// Every stage, in the order of the way.
    pub const ALL: [Stage; 14] = [
        Stage::Vet,
        Stage::Stamp,
        Stage::SettleSent,
        Stage::ArchiveSent,
        Stage::CopySent,
        Stage::Guard,
        Stage::SettleReceived,
        Stage::ArchiveReceived,
        Stage::Choose,
        Stage::CopyReceived,
        Stage::Rescue,
        Stage::Notice,
        Stage::Hold,
        Stage::Count,
    ];

    /// The question the stage answers, for the stage table.
    pub fn question(self) -> &'static str {
        match self {
            Stage::Vet => "may it leave?",
            Stage::Stamp => "who says so?",
            Stage::SettleSent => "what does it change for the sender?",
            Stage::ArchiveSent => "keep the sender's copy",
            Stage::CopySent => "tell the sender's other devices",
            Stage::Guard => "does the recipient admit it?",
            Stage::SettleReceived => "what does it change for the recipient?",
            Stage::ArchiveReceived => "keep the recipient's copy",
            Stage::Choose => "which devices?",
            Stage::CopyReceived => "tell the recipient's other devices",
            Stage::Rescue => "nobody there?",
            Stage::Notice => "is somebody away to be called?",
            Stage::Hold => "is the client asleep?",
            Stage::Count => "keep until acknowledged",
        }
    }
}

/// A stage a module stands at, and for which kinds of stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The stage.
    pub stage: Stage,
    /// The kinds of stanza the module wants to see there; others pass by without a call.
    pub kinds: &'static [Kind],
}

impl Standing {
    /// Stands at `stage` for messages only.
    pub const fn messages(stage: Stage) -> Standing {
        Standing { stage, kinds: &[Kind::Message] }
    }

    /// Stands at `stage` for presence only.
    pub const fn presence(stage: Stage) -> Standing {
        Standing { stage, kinds: &[Kind::Presence] }
    }

    /// Stands at `stage` for IQs only.
    pub const fn iqs(stage: Stage) -> Standing {
        Standing { stage, kinds: &[Kind::Iq] }
    }

    /// Stands at `stage` for every stanza.
    pub const fn all(stage: Stage) -> Standing {
        Standing { stage, kinds: &[Kind::Message, Kind::Presence, Kind::Iq] }
    }
}

/// What a stage decided about a parcel; an `Err(Refusal)` turns it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It goes on.
    Onward,
    /// Its way ends here, and nothing is sent back.
    Taken,
}
