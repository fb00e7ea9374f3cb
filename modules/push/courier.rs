//! The courier: takes what is told, looks which devices of the recipient have not got it, and calls them. One task of a host
//! with a bounded queue before it, so that no message waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use waxwing_core::address::{BareJid, Jid, ResourcePart};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::metrics::{Counter, Gauge};
use waxwing_core::module::Context;
use waxwing_core::push::{Circle, Push, Urgency, Waiting};
use waxwing_core::session::Session;
use waxwing_core::stanza::{IqType, Stanza};

use crate::desk::{Bounds, Call, Desk, Fate, News};
use crate::notify::{self, Bookmark};
use crate::protocol::{self, Outcome};
use crate::settings::Settings;
use crate::store::{Called, Registration, Registrations, Store};
use crate::watches::{Seen, ToDo, Watch, Watches};
use crate::worth::{Worth, beginning, mentions, names, urgency, worth};

/// A message that waits for an account.
#[derive(Clone, Debug)]
pub struct Told {
    /// For whom.
    pub owner: BareJid,
    /// In which conversation.
    pub chat: BareJid,
    /// Who said it.
    pub sender: Jid,
    /// What may be shown of it.
    pub body: Option<String>,
    /// The beginning of what was said in a room, to find a name in it.
    pub text: Option<String>,
    /// In what kind of conversation.
    pub circle: Circle,
    /// Whether it mentions the account.
    pub is_mention: bool,
    /// How important it is.
    pub urgency: Urgency,
    /// Whether it was given to the account's sessions, too.
    pub was_delivered: bool,
    /// When it came, in milliseconds since 1970.
    pub arrived_at: i64,
    /// Whether a session had it and has ended since.
    pub is_late: bool,
}

/// How much of a message is searched for a name, in characters.
const SEARCHED: usize = 1_000;
/// How many calls are begun before the queue is looked at again.
const AT_ONCE: usize = 64;
/// The shortest and the longest time between two looks at the agenda.
const LOOKS: [i64; 2] = [5, 60_000];

/// What has happened, for the operator.
struct Figures {
    /// Messages that found no room and caused no call.
    dropped: Counter,
    /// Messages in conversations that the account has muted.
    muted: Counter,
    /// Calls that were sent to app servers.
    called: Counter,
    /// Calls that failed.
    failed: Counter,
    /// Registrations that an app server has declared dead.
    ended: Counter,
    /// Calls that wait for an answer.
    under_way: Gauge,
    /// Messages that wait for the acknowledgement of a client.
    watched: Gauge,
}

impl Figures {
    fn of(context: &Context) -> Figures {
        Figures {
            dropped: context
                .counter("push_dropped", "Messages for which no device was called because a queue was full"),
            muted: context
                .counter("push_muted", "Messages in conversations for which an account wants no notification"),
            called: context.counter("push_calls", "Calls that were sent to app servers"),
            failed: context.counter("push_failures", "Calls that app servers have refused or not answered"),
            ended: context.counter("push_registrations_ended", "Registrations that app servers have declared dead"),
            under_way: context.gauge("push_under_way", "Calls that wait for the answer of an app server"),
            watched: context.gauge("push_watched", "Messages that wait for the acknowledgement of a client"),
        }
    }
}

/// Calls the devices of the accounts of one host.
pub struct Courier {
    pub context: Context,
    pub settings: Settings,
    pub store: Store,
    figures: Figures,
    pub desk: Mutex<Desk>,
    watches: Mutex<Watches>,
    queue: mpsc::Sender<Told>,
    /// What came of calls and is not written down yet.
    calls: Mutex<HashMap<i64, Called>>,
    /// The agenda has changed.
    changed: Notify,
}

/// What is known of the client on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// It has no connection.
    Away,
    /// It has one, and its user does not look. Whether it acknowledges what it gets.
    Asleep {
        /// By stream management.
        acknowledges: bool,
    },
    /// It has one.
    Awake {
        /// By stream management.
        acknowledges: bool,
    },
}

/// What is to be done about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is called.
    Call,
    /// It is called unless it shows that it has got the message.
    Watch,
    /// It is not called.
    Nothing,
}

/// Whether a device is called for a message.
pub fn verdict(device: Device, was_delivered: bool, urgency: Urgency) -> Verdict {
    match (device, urgency) {
        (Device::Away, _) => Verdict::Call,
        // Its user will look, and it is not worth waking him.
        (Device::Asleep { .. }, Urgency::Normal) => Verdict::Nothing,
        (Device::Asleep { acknowledges: true } | Device::Awake { acknowledges: true }, _) if was_delivered => {
            Verdict::Watch
        }
        (Device::Asleep { .. }, Urgency::Urgent) => Verdict::Call,
        (Device::Awake { .. }, _) => Verdict::Nothing,
    }
}

fn milliseconds(period: Duration) -> i64 {
    i64::try_from(period.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 8)
}

impl Courier {
    /// Begins to work.
    pub fn start(context: Context, settings: Settings) -> Arc<Courier> {
        let bounds = Bounds {
            pause: milliseconds(settings.pause.get()),
            retry_after: milliseconds(settings.retry_after.get()),
            retry_at_most: milliseconds(settings.retry_at_most.get()),
            under_way: settings.under_way.get(),
            devices: settings.devices.get(),
        };
        let (queue, told) = mpsc::channel(settings.queue.get().clamp(1, 1 << 24));
        let courier = Arc::new(Courier {
            store: Store::new(context.database().clone(), settings.remembered.get()),
            figures: Figures::of(&context),
            desk: Mutex::new(Desk::new(bounds)),
            watches: Mutex::new(Watches::new(settings.watched.get(), milliseconds(settings.unacknowledged_for.get()))),
            queue,
            calls: Mutex::default(),
            changed: Notify::new(),
            context,
            settings,
        });
        courier.context.house().tasks().spawn(courier.clone().work(told));
        courier
    }

    async fn work(self: Arc<Courier>, mut queue: mpsc::Receiver<Told>) {
        let stopped = self.context.house().stopped();
        loop {
            let next = self.desk.lock().next().unwrap_or(i64::MAX);
            let wait = next.saturating_sub(now_milliseconds()).clamp(LOOKS[0], LOOKS[1]);
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                told = queue.recv() => match told {
                    Some(told) => self.look_at(Arc::new(told)).await,
                    None => return,
                },
                () = self.changed.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())) => {}
            }
            let calls = self.desk.lock().due(now_milliseconds(), AT_ONCE);
            for call in calls {
                self.call(call);
            }
        }
    }

    /// Puts a message into the queue, if its account may have registered a device.
    pub fn offer(&self, told: Told) {
        if self.store.remembered(&told.owner).is_some_and(|registrations| registrations.is_empty()) {
            return;
        }
        if self.queue.try_send(told).is_err() {
            self.drop_one();
        }
    }

    fn drop_one(&self) {
        // One line for the first of many.
        if self.figures.dropped.inc().is_multiple_of(10_000) {
            tracing::warn!(host = %self.context.domain(), "push.too_much_to_call_for");
        }
    }

    /// What is told of a message, as far as the message says it itself; `None` when nobody is called for it.
    pub fn told(&self, stanza: &Stanza, owner: BareJid, sender: Jid, may_show_body: bool) -> Option<Told> {
        let (rings, in_clear) = match worth(stanza) {
            Worth::Nothing => return None,
            Worth::Said { in_clear } => (false, in_clear),
            Worth::Rings => (true, false),
        };
        let is_mention = rings || mentions(stanza, &owner);
        let text = stanza.text_of("body").filter(|_| in_clear);
        let shown = text.as_deref().filter(|_| may_show_body && self.settings.show_body);
        Some(Told {
            chat: sender.to_bare(),
            body: shown.map(|text| beginning(text, self.settings.body_characters.get()).to_owned()),
            text: text.as_deref().map(|text| beginning(text, SEARCHED).to_owned()),
            circle: Circle::Private,
            is_mention,
            urgency: urgency(stanza, is_mention),
            was_delivered: true,
            arrived_at: now_milliseconds(),
            is_late: false,
            owner,
            sender,
        })
    }

    /// The registrations of an account; none when the database does not answer.
    pub async fn registrations(&self, owner: &BareJid) -> Registrations {
        self.store.of_account(owner).await.unwrap_or_else(|error| {
            tracing::debug!(account = %owner, %error, "push.registrations_unknown");
            self.drop_one();
            Arc::from([])
        })
    }

    async fn look_at(self: &Arc<Courier>, told: Arc<Told>) {
        let mut may_call = None;
        for registration in self.registrations(&told.owner).await.iter() {
            let session = self.session_of(&told.owner, registration);
            match verdict(device(session.as_deref()), told.was_delivered, told.urgency) {
                Verdict::Nothing => {
                    if device(session.as_deref()) == (Device::Awake { acknowledges: false }) {
                        self.desk.lock().is_here(registration.id);
                    }
                }
                Verdict::Watch => {
                    let Some(session) = session else { continue };
                    if session.unacknowledged_since().is_none_or(|since| since >= told.arrived_at) {
                        // Everything before has arrived.
                        self.desk.lock().is_here(registration.id);
                    }
                    let watch = Watch { id: registration.id, session: session.jid().clone(), told: told.clone() };
                    if !self.watches.lock().add(watch) {
                        self.drop_one();
                    }
                }
                Verdict::Call => {
                    let may_call = match may_call {
                        Some(known) => known,
                        None => *may_call.insert(self.may_call(&told).await),
                    };
                    if may_call {
                        self.tell_desk(registration.id, &told);
                    }
                }
            }
        }
    }

    /// Whether the account wants to be called for it (XEP-0492). In doubt it does.
    async fn may_call(&self, told: &Told) -> bool {
        let bookmark = match self.context.contracts().nodes() {
            Some(nodes) => match nodes.item(&told.owner, notify::BOOKMARKS, told.chat.as_str()).await {
                Ok(item) => item.and_then(|item| item.payload).map(|payload| notify::read(payload.as_child())),
                Err(error) => {
                    tracing::debug!(account = %told.owner, %error, "push.settings_unknown");
                    None
                }
            },
            None => None,
        };
        let Bookmark { choice, nickname } = bookmark.unwrap_or_default();
        let is_named = || match (&told.text, &nickname) {
            (Some(text), Some(nickname)) => names(text, nickname),
            _ => false,
        };
        let may_call = notify::may_call(choice, told.circle, told.is_mention || is_named());
        if !may_call {
            self.figures.muted.inc();
        }
        may_call
    }

    fn tell_desk(self: &Arc<Courier>, id: i64, told: &Told) {
        let placeholder = Some(&self.settings.placeholder);
        let placeholder = placeholder.filter(|text| told.urgency == Urgency::Urgent && !text.is_empty());
        let news = News {
            chat: told.chat.clone(),
            sender: self.settings.show_sender.then(|| told.sender.clone()),
            body: told.body.as_ref().or(placeholder).cloned(),
            arrived_at: told.arrived_at,
            is_late: told.is_late,
        };
        let mut desk = self.desk.lock();
        let dropped = desk.dropped;
        let call = desk.tell(&told.owner, id, &news, now_milliseconds());
        let found_room = desk.dropped == dropped;
        drop(desk);
        if !found_room {
            self.drop_one();
        }
        if let Some(call) = call {
            self.call(call);
        }
        self.changed.notify_one();
    }

    /// The session of the device that has registered.
    fn session_of(&self, owner: &BareJid, registration: &Registration) -> Option<Arc<Session>> {
        let resource = ResourcePart::new(&registration.resource).ok()?;
        self.context.directory().resource(owner, &resource).filter(|session| !session.is_ending())
    }

    /// Calls a device, on a task of its own: an app server that is slow holds up nobody. As many are under way as the
    /// desk allows.
    fn call(self: &Arc<Courier>, call: Call) {
        let courier = self.clone();
        self.context.house().tasks().spawn(async move {
            let stopped = courier.context.house().stopped();
            tokio::select! {
                () = stopped.cancelled() => {}
                () = courier.call_and_settle(&call) => {}
            }
        });
    }

    async fn call_and_settle(&self, call: &Call) {
        let registrations = match self.store.of_account(&call.owner).await {
            Ok(registrations) => registrations,
            Err(_) => return self.settle(call, Outcome::Later("database".to_owned())).await,
        };
        let Some(registration) = registrations.iter().find(|registration| registration.id == call.id) else {
            return self.desk.lock().forget(call.id);
        };
        let session = self.session_of(&call.owner, registration);
        let is_awake = matches!(device(session.as_deref()), Device::Awake { .. });
        if is_awake && session.is_some_and(|session| session.unacknowledged_since().is_none()) {
            // Its user has come back in the meantime.
            let mut desk = self.desk.lock();
            desk.is_here(call.id);
            desk.answered(call.id, &Outcome::Taken, now_milliseconds());
            return;
        }
        let outcome = match self.ask(registration, call).await {
            Ok(outcome) => outcome,
            Err(why) => Outcome::Later(why),
        };
        self.settle(call, outcome).await;
    }

    async fn ask(&self, registration: &Registration, call: &Call) -> Result<Outcome, String> {
        let payload = protocol::publication(&registration.node, &call.summary, registration.options.as_ref())
            .map_err(|fault| format!("fault {}", fault.id()))?;
        let question = Stanza::iq(IqType::Set)
            .from(self.context.host().address().clone())
            .to(registration.service.clone())
            .with(payload);
        self.figures.called.inc();
        let answer = self.context.ask(question, self.settings.answer_within.get()).await;
        answer.map(|answer| protocol::outcome(&answer)).map_err(|unanswered| unanswered.to_string())
    }

    async fn settle(&self, call: &Call, outcome: Outcome) {
        let now = now_milliseconds();
        let fate = self.desk.lock().answered(call.id, &outcome, now);
        let result = match outcome {
            Outcome::Taken => "ok".to_owned(),
            Outcome::Later(why) | Outcome::Dead(why) | Outcome::Absent(why) => {
                self.figures.failed.inc();
                why
            }
        };
        if fate == Fate::Ends {
            self.figures.ended.inc();
            tracing::info!(account = %call.owner, reason = result, "push.registration_ended");
            if let Err(error) = self.store.delete(&call.owner, &[call.id]).await {
                tracing::warn!(account = %call.owner, %error, "push.registration_not_deleted");
            }
        } else {
            let mut calls = self.calls.lock();
            if calls.len() < self.settings.devices.get() {
                calls.insert(call.id, Called { id: call.id, at: now, result });
            }
        }
        self.changed.notify_one();
    }

    /// Looks what has become of messages that are on their way to a device.
    pub fn look_around(self: &Arc<Courier>) {
        let directory = self.context.directory();
        let ToDo { call, ask } = self.watches.lock().look(now_milliseconds(), |watch| {
            // When a session has ended, what it left behind is told of anew.
            let Some(session) = directory.session(&watch.session) else { return Seen::Settled };
            match session.unacknowledged_since() {
                Some(since) if since <= watch.told.arrived_at => match session.waits_since() {
                    Some(_) => Seen::Stranded,
                    None => Seen::Open,
                },
                _ => Seen::Settled,
            }
        });
        for session in ask.iter().filter_map(|jid| directory.session(jid)) {
            session.ask_what_arrived();
        }
        if call.is_empty() {
            return;
        }
        let courier = self.clone();
        self.context.house().tasks().spawn(async move {
            for watch in call {
                if courier.may_call(&watch.told).await {
                    courier.tell_desk(watch.id, &watch.told);
                }
            }
        });
    }

    /// The client of a session is here and gets everything itself.
    pub fn is_here(&self, session: &Session) {
        let Some(registrations) = self.store.remembered(session.account()) else { return };
        let own =
            registrations.iter().filter(|registration| registration.resource == session.jid().resource().as_str());
        for registration in own {
            self.desk.lock().is_here(registration.id);
        }
    }

    /// Writes down what came of calls.
    pub async fn write_down(&self) {
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        self.figures.under_way.set(count(self.desk.lock().under_way()));
        self.figures.watched.set(count(self.watches.lock().len()));
        let calls = std::mem::take(&mut *self.calls.lock());
        let calls: Vec<Called> = calls.into_values().collect();
        if let Err(error) = self.store.note(&calls).await {
            tracing::debug!(%error, "push.calls_not_noted");
        }
    }
}

/// What is known of a device by its session.
fn device(session: Option<&Session>) -> Device {
    match session {
        Some(session) if session.waits_since().is_some() => Device::Away,
        Some(session) if session.is_asleep() => Device::Asleep { acknowledges: session.is_kept() },
        Some(session) => Device::Awake { acknowledges: session.is_kept() },
        None => Device::Away,
    }
}

impl Push for Courier {
    fn tell(&self, waiting: Waiting<'_>) {
        let told = self.told(waiting.message, waiting.account.clone(), waiting.sender.clone(), waiting.may_show_body);
        let Some(told) = told else { return };
        self.offer(Told {
            chat: waiting.chat.clone(),
            circle: waiting.circle,
            is_mention: waiting.is_mention,
            urgency: waiting.urgency,
            was_delivered: false,
            ..told
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_called_at_once_and_who_is_given_time_to_show_that_he_has_it() {
        use Urgency::{Normal, Urgent};
        let asleep = |acknowledges| Device::Asleep { acknowledges };
        let awake = |acknowledges| Device::Awake { acknowledges };
        for (device, was_delivered, urgency, wanted) in [
            (Device::Away, true, Urgent, Verdict::Call),
            (Device::Away, true, Normal, Verdict::Call),
            (Device::Away, false, Normal, Verdict::Call),
            (asleep(true), true, Urgent, Verdict::Watch),
            (asleep(true), true, Normal, Verdict::Nothing),
            (asleep(true), false, Urgent, Verdict::Call),
            (asleep(false), true, Urgent, Verdict::Call),
            (asleep(false), true, Normal, Verdict::Nothing),
            (awake(true), true, Urgent, Verdict::Watch),
            (awake(true), true, Normal, Verdict::Watch),
            (awake(true), false, Urgent, Verdict::Nothing),
            (awake(false), true, Urgent, Verdict::Nothing),
        ] {
            assert_eq!(verdict(device, was_delivered, urgency), wanted, "{device:?} {was_delivered} {urgency:?}");
        }
    }
}
