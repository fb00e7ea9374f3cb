//! One client, as good clients are: it keeps its stream management (XEP-0198) and resumes; when that fails it catches up
//! from its archive (XEP-0313) and sends again only what is not there. Everything goes into its diary.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use waxwing_xml::{Child, Element};

use crate::diary::{Diary, Entry};
use crate::dice::Dice;
use crate::message::Id;
use crate::race::{self, Race};
use crate::wire::{Gone, Wire};

const SM: &str = "urn:xmpp:sm:3";
const MAM: &str = "urn:xmpp:mam:2";
const SID: &str = "urn:xmpp:sid:0";

/// How many messages one page of the archive holds at most.
const PAGE: usize = 50;

/// What the director of the play says to all clients.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The host.
    pub host: String,
    /// Where the server is.
    pub address: std::net::SocketAddr,
    /// The mean time between two messages of one client; `None`: nobody says anything.
    pub pace: Option<Duration>,
    /// How long a client waits at most before it tries to connect again.
    pub jitter: Duration,
}

/// What the director says to one client.
pub enum Order {
    /// Do not read from the connection for so long, and then drop it.
    StopReading(Duration),
    /// Connect anew with a small receive buffer.
    BeNarrow,
    /// Send this stanza; it is counted like any other.
    Send(String),
    /// Send this, which the server does not live to count.
    Provoke(String),
    /// Write so many long messages to one other.
    Burst {
        /// To whom.
        to: usize,
        /// How many.
        count: usize,
    },
    /// Connect anew, from now on at this address.
    GoTo(std::net::SocketAddr),
    /// Come back with two connections that resume at once; the old one stays open beside them, or is dropped.
    Race {
        /// Whether the old connection stays.
        keep_old: bool,
    },
}

/// What anybody may know of a client while it plays.
#[derive(Default)]
pub struct State {
    /// Whether it has caught up and is available.
    pub online: AtomicBool,
    /// How many of its messages have no outcome yet.
    pub unsettled: AtomicUsize,
    /// How often it has resumed.
    pub resumed: AtomicUsize,
    /// How often it could not resume.
    pub failed: AtomicUsize,
    /// How often it has lost its connection.
    pub lost: AtomicUsize,
    /// How many messages it has sent.
    pub sent: AtomicUsize,
    /// How many of its messages came back.
    pub refused: AtomicUsize,
    /// How many of its messages were taken.
    pub taken: AtomicUsize,
    /// The longest time an own message took until it was acknowledged, in microseconds, since it was last read.
    pub slowest: AtomicU64,
    /// The longest time until a refusal, in microseconds, since it was last read.
    pub slowest_refusal: AtomicU64,
    /// The newest end of a stream by the server's wish, if it was one.
    pub stream_error: std::sync::Mutex<Option<String>>,
}

/// A stanza that the server has not counted yet.
struct Out {
    /// Which message it is, if it is one.
    message: Option<Id>,
    xml: String,
    since: Instant,
    /// The newest place in the own archive that was known when it was sent.
    position: Option<i64>,
}

/// How far a connection has come.
#[derive(PartialEq, Eq)]
enum Phase {
    /// Pages of the archive are being fetched; this is the newest query.
    CatchingUp(u32),
    Online,
}

/// A client.
pub struct Person {
    number: usize,
    name: String,
    neighbours: Vec<usize>,
    stage: watch::Receiver<Stage>,
    orders: mpsc::Receiver<Order>,
    state: Arc<State>,
    diary: Diary,
    dice: Dice,
    narrow: bool,
    address: Option<std::net::SocketAddr>,
    next_message: u32,
    next_query: u32,
    /// Stanzas that were sent in this session and not counted yet, and how many were.
    outgoing: VecDeque<Out>,
    counted: u32,
    /// How many stanzas have come in this session.
    handled: u32,
    session: Option<String>,
    /// Messages that may be stored or not: the session could not be resumed.
    doubtful: Vec<Out>,
    own: HashSet<Id>,
    shown: HashMap<Id, i64>,
    position: Option<i64>,
    phase: Phase,
    refused: HashSet<Id>,
    /// How the next connection is made.
    race: Option<Race>,
}

/// Who a client is.
pub struct Role {
    /// Its number.
    pub number: usize,
    /// To whom it writes.
    pub neighbours: Vec<usize>,
    /// The seed of the whole run.
    pub seed: u64,
}

/// The name of a client's account.
pub fn name_of(number: usize) -> String {
    format!("person{number}")
}

impl Person {
    /// A client that has never been online.
    pub fn new(
        role: Role,
        stage: watch::Receiver<Stage>,
        orders: mpsc::Receiver<Order>,
        state: Arc<State>,
        diary: Diary,
    ) -> Person {
        Person {
            number: role.number,
            name: name_of(role.number),
            neighbours: role.neighbours,
            stage,
            orders,
            state,
            diary,
            dice: Dice::new(role.seed, 1_000_000 + role.number as u64),
            narrow: false,
            address: None,
            next_message: 1,
            next_query: 1,
            outgoing: VecDeque::new(),
            counted: 0,
            handled: 0,
            session: None,
            doubtful: Vec::new(),
            own: HashSet::new(),
            shown: HashMap::new(),
            position: None,
            phase: Phase::CatchingUp(0),
            refused: HashSet::new(),
            race: None,
        }
    }

    /// Plays until the task is ended.
    pub async fn live(mut self) {
        loop {
            let gone = match self.connect().await {
                Ok(mut wire) => {
                    let gone = self.stay(&mut wire).await;
                    self.write(Entry::Lost(gone.to_string()));
                    if let Gone::StreamError(condition) = &gone {
                        *self.state.stream_error.lock().expect("nobody panics with it") = Some(condition.clone());
                    }
                    if let Some(Race { old: keep @ None, keep_old: true }) = &mut self.race {
                        *keep = Some(wire);
                    }
                    // Last, for whoever waits for it and then asks why.
                    self.state.lost.fetch_add(1, Ordering::Release);
                    gone
                }
                Err(gone) => gone,
            };
            self.state.online.store(false, Ordering::Relaxed);
            self.tell();
            // A server that is not there is asked often; one that has thrown everybody out, not by all at once.
            let jitter = self.stage.borrow().jitter;
            let wait = match gone {
                Gone::Broken(why) if why.contains("refused") => Duration::from_millis(100),
                _ => self.dice.between(Duration::from_millis(10), jitter.max(Duration::from_millis(20))),
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn write(&mut self, entry: Entry) {
        self.diary.write(&entry);
    }

    /// Says how many messages have no outcome.
    fn tell(&self) {
        let waiting = self.outgoing.iter().filter(|out| out.message.is_some()).count();
        self.state.unsettled.store(waiting + self.doubtful.len(), Ordering::Relaxed);
    }

    fn jid(&self, number: usize) -> String {
        format!("{}@{}", name_of(number), self.stage.borrow().host)
    }

    // ---- beginnings ------------------------------------------------------------------------------------------------

    async fn connect(&mut self) -> Result<Wire, Gone> {
        let Stage { host, address, .. } = self.stage.borrow().clone();
        let address = self.address.unwrap_or(address);
        let mut wire = Wire::connect(address, self.narrow).await?;
        wire.login(&host, &self.name).await?;
        if let Some(id) = self.session.clone() {
            let handled = self.handled;
            let resume = format!("<resume xmlns='{SM}' previd='{id}' h='{handled}'/>");
            let answer;
            if let Some(Race { old, .. }) = self.race.take() {
                let mut other = Wire::connect(address, self.narrow).await?;
                other.login(&host, &self.name).await?;
                let outcome = race::resume_both(wire, other, &resume).await?;
                drop(old);
                if let Some(what) = outcome.wrong {
                    self.write(Entry::Wrong(what));
                }
                (wire, answer) = (outcome.wire, outcome.answer);
            } else {
                wire.send(&resume).await?;
                answer = wire.answer().await?;
            }
            let number = answer.attribute("h").and_then(|h| h.parse::<u32>().ok());
            let h = number.map_or("none".to_owned(), |number| number.to_string());
            match answer.name() {
                "resumed" => {
                    self.state.resumed.fetch_add(1, Ordering::Relaxed);
                    self.write(Entry::Began(format!("resumed h={h}")));
                    self.count(number.ok_or_else(|| Gone::Broken("resumed without h".to_owned()))?);
                    for out in &self.outgoing {
                        wire.send(&out.xml).await?;
                    }
                    let again: Vec<Id> = self.outgoing.iter().filter_map(|out| out.message.clone()).collect();
                    for id in again {
                        self.write(Entry::Again(id.to_string()));
                    }
                    wire.send(&format!("<r xmlns='{SM}'/>")).await?;
                    self.state.online.store(self.phase == Phase::Online, Ordering::Relaxed);
                    return Ok(wire);
                }
                _ => {
                    self.state.failed.fetch_add(1, Ordering::Relaxed);
                    self.write(Entry::Began(format!("failed h={h} counted={}", self.counted)));
                    match number {
                        Some(number) => self.count(number),
                        None if self.counted > 0 => {
                            self.write(Entry::Wrong("failed without h although something was counted".to_owned()));
                        }
                        None => {}
                    }
                    self.session = None;
                }
            }
        }
        self.begin(&mut wire, &host).await?;
        Ok(wire)
    }

    /// Binds, switches stream management on, and begins to catch up.
    async fn begin(&mut self, wire: &mut Wire, host: &str) -> Result<(), Gone> {
        let doubtful = self.outgoing.drain(..).filter(|out| out.message.is_some());
        self.doubtful.extend(doubtful);
        self.counted = 0;
        let bind = "urn:ietf:params:xml:ns:xmpp-bind";
        wire.send(&format!(
            "<iq type='set' id='bind'><bind xmlns='{bind}'><resource>phone</resource></bind></iq>\
             <enable xmlns='{SM}' resume='true'/>"
        ))
        .await?;
        let bound = wire.answer().await?;
        if bound.attribute("type").as_deref() != Some("result") {
            return Err(Gone::Broken(format!("not bound: {}", String::from_utf8_lossy(bound.as_bytes()))));
        }
        let enabled = wire.answer().await?;
        self.session = match enabled.name() {
            "enabled" => enabled.attribute("id").map(|id| id.into_owned()),
            _ => return Err(Gone::Broken("stream management is not enabled".to_owned())),
        };
        self.handled = 0;
        self.write(Entry::Began(format!("new on {host}")));
        // What is in doubt may be in the archive before the newest message that was seen.
        let after = match self.doubtful.first() {
            Some(out) => out.position,
            None => self.position,
        };
        self.own.clear();
        self.ask_archive(wire, after).await
    }

    async fn ask_archive(&mut self, wire: &mut Wire, after: Option<i64>) -> Result<(), Gone> {
        let query = self.next_query;
        self.next_query += 1;
        self.phase = Phase::CatchingUp(query);
        let after = after.map(|after| format!("<after>{after}</after>")).unwrap_or_default();
        let xml = format!(
            "<iq type='set' id='q{query}'><query xmlns='{MAM}' queryid='q{query}'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>{PAGE}</max>{after}</set></query></iq>"
        );
        self.send(wire, xml, None).await
    }

    // ---- while it lasts --------------------------------------------------------------------------------------------

    async fn stay(&mut self, wire: &mut Wire) -> Gone {
        let mut say_at = tokio::time::Instant::now() + self.until_next();
        loop {
            let done = tokio::select! {
                element = wire.next() => match element {
                    Ok(element) => self.hear(wire, &element).await,
                    Err(gone) => Err(gone),
                },
                () = tokio::time::sleep_until(say_at) => {
                    say_at = tokio::time::Instant::now() + self.until_next();
                    self.say(wire).await
                }
                changed = self.stage.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    say_at = tokio::time::Instant::now() + self.until_next();
                    Ok(())
                }
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(wire, order).await,
                    None => std::future::pending().await,
                },
            };
            self.tell();
            if let Err(gone) = done {
                return gone;
            }
        }
    }

    fn until_next(&mut self) -> Duration {
        let pace = self.stage.borrow().pace;
        pace.map_or(Duration::from_secs(3600), |pace| self.dice.until_next(pace))
    }

    async fn obey(&mut self, wire: &mut Wire, order: Order) -> Result<(), Gone> {
        match order {
            Order::StopReading(time) => {
                tokio::time::sleep(time).await;
                Err(Gone::Broken("stopped reading".to_owned()))
            }
            Order::BeNarrow => {
                self.narrow = true;
                Err(Gone::Broken("comes back narrow".to_owned()))
            }
            Order::Send(xml) => self.send(wire, xml, None).await,
            Order::Provoke(xml) => wire.send(&xml).await,
            Order::Burst { to, count } => {
                for _ in 0..count {
                    self.say_to(wire, to, &"x".repeat(1000)).await?;
                }
                wire.send(&format!("<r xmlns='{SM}'/>")).await
            }
            Order::Race { keep_old } => {
                self.race = Some(Race { keep_old, old: None });
                Err(Gone::Broken("races".to_owned()))
            }
            Order::GoTo(address) => {
                self.address = Some(address);
                Err(Gone::Broken("goes elsewhere".to_owned()))
            }
        }
    }

    /// Writes to a neighbour.
    async fn say(&mut self, wire: &mut Wire) -> Result<(), Gone> {
        if self.phase != Phase::Online || self.stage.borrow().pace.is_none() || self.neighbours.is_empty() {
            return Ok(());
        }
        let to = self.neighbours[self.dice.below(self.neighbours.len())];
        self.say_to(wire, to, "").await?;
        wire.send(&format!("<r xmlns='{SM}'/>")).await
    }

    /// Writes to somebody, with some ballast.
    async fn say_to(&mut self, wire: &mut Wire, to: usize, ballast: &str) -> Result<(), Gone> {
        let id = Id { from: self.number, to, count: self.next_message };
        self.next_message += 1;
        let ballast = match ballast {
            "" => String::new(),
            text => format!("<ballast xmlns='urn:waxwing:faults'>{text}</ballast>"),
        };
        let xml = format!(
            "<message type='chat' id='{id}' to='{}'><body>{id}</body><origin-id xmlns='{SID}' id='{id}'/>{ballast}\
             </message>",
            self.jid(to)
        );
        self.write(Entry::Sent(id.to_string()));
        self.state.sent.fetch_add(1, Ordering::Relaxed);
        self.send(wire, xml, Some(id)).await
    }

    /// Sends a stanza that is counted.
    async fn send(&mut self, wire: &mut Wire, xml: String, message: Option<Id>) -> Result<(), Gone> {
        let out = Out { message, xml, since: Instant::now(), position: self.position };
        self.outgoing.push_back(out);
        self.tell();
        match self.outgoing.back() {
            Some(out) => wire.send(&out.xml).await,
            None => Ok(()),
        }
    }

    async fn hear(&mut self, wire: &mut Wire, element: &Element) -> Result<(), Gone> {
        if element.namespace() == SM {
            match element.name() {
                "r" => wire.send(&format!("<a xmlns='{SM}' h='{}'/>", self.handled)).await?,
                "a" => match element.attribute("h").and_then(|h| h.parse().ok()) {
                    Some(number) => self.count(number),
                    None => self.write(Entry::Wrong("an acknowledgement without h".to_owned())),
                },
                other => self.write(Entry::Wrong(format!("unexpected {other}"))),
            }
            return Ok(());
        }
        self.handled = self.handled.wrapping_add(1);
        match element.name() {
            "message" => {
                self.hear_message(element);
                Ok(())
            }
            "iq" => self.hear_iq(wire, element).await,
            _ => Ok(()),
        }
    }

    fn hear_message(&mut self, element: &Element) {
        if element.attribute("type").as_deref() == Some("error") {
            return self.hear_refusal(element);
        }
        if let Some(result) = element.child(MAM, "result") {
            return self.hear_page(&result);
        }
        let Some(id) = body(&element.as_child()) else { return };
        let me = self.jid(self.number);
        let place = element
            .children()
            .find(|child| child.name() == "stanza-id" && child.attribute("by").as_deref() == Some(me.as_str()))
            .and_then(|child| child.attribute("id")?.parse::<i64>().ok());
        let how = if element.child("urn:xmpp:delay", "delay").is_some() { "late" } else { "live" };
        let Some(place) = place else {
            return self.write(Entry::Wrong(format!("{id} came without the id of its place in the archive")));
        };
        match self.shown.get(&id) {
            // It did not ask for this: the server has sent it twice.
            Some(_) => self.write(Entry::Repeated(id.to_string(), place, how.to_owned())),
            None => self.show(id, place, how),
        }
    }

    fn show(&mut self, id: Id, place: i64, how: &str) {
        self.write(Entry::Shown(id.to_string(), place, how.to_owned()));
        self.shown.insert(id, place);
        self.position = self.position.max(Some(place));
    }

    fn hear_page(&mut self, result: &Child<'_>) {
        let place = result.attribute("id").and_then(|id| id.parse::<i64>().ok());
        let message = result.child("urn:xmpp:forward:0", "forwarded");
        let message = message.and_then(|forwarded| forwarded.child("jabber:client", "message"));
        let (Some(place), Some(message)) = (place, message) else {
            return self.write(Entry::Wrong("a page of the archive with something that is none".to_owned()));
        };
        let Some(id) = body(&message) else { return };
        if id.from == self.number {
            self.own.insert(id);
            self.position = self.position.max(Some(place));
            return;
        }
        match self.shown.get(&id) {
            // It has asked from an earlier place, to find its own.
            Some(known) if *known == place => {}
            Some(_) => self.write(Entry::Repeated(id.to_string(), place, "archive".to_owned())),
            None => self.show(id, place, "archive"),
        }
    }

    fn hear_refusal(&mut self, element: &Element) {
        let id = element.attribute("id").and_then(|id| Id::read(&id));
        let error = element.child("jabber:client", "error");
        let condition = error.and_then(|error| {
            let condition = error.children().next()?.name().to_owned();
            Some(format!("{}:{condition}", error.attribute("type").unwrap_or_default()))
        });
        let Some(id) = id else { return };
        if let Some(out) = self.outgoing.iter().find(|out| out.message.as_ref() == Some(&id)) {
            let took = u64::try_from(out.since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.state.slowest_refusal.fetch_max(took, Ordering::Relaxed);
        }
        self.state.refused.fetch_add(1, Ordering::Relaxed);
        self.refused.insert(id.clone());
        self.write(Entry::Refused(id.to_string(), condition.unwrap_or_default()));
    }

    async fn hear_iq(&mut self, wire: &mut Wire, element: &Element) -> Result<(), Gone> {
        let id = element.attribute("id").unwrap_or_default().into_owned();
        match element.attribute("type").as_deref() {
            Some("get" | "set") => {
                let from = element.attribute("from").map(|from| format!(" to='{from}'")).unwrap_or_default();
                self.send(wire, format!("<iq type='result' id='{id}'{from}/>"), None).await
            }
            Some(kind) => match self.phase {
                Phase::CatchingUp(query) if id == format!("q{query}") => {
                    let fin = element.child(MAM, "fin").filter(|_| kind == "result");
                    let Some(fin) = fin else {
                        // Not now: the server could not read the archive. Asked again from where this began.
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        let after = self.doubtful.first().map_or(self.position, |out| out.position);
                        return self.ask_archive(wire, after).await;
                    };
                    let last = fin
                        .child("http://jabber.org/protocol/rsm", "set")
                        .and_then(|set| set.children().find(|child| child.name() == "last"))
                        .and_then(|last| last.text().parse::<i64>().ok());
                    match (fin.attribute("complete").as_deref(), last) {
                        (Some("true" | "1"), _) | (_, None) => self.caught_up(wire).await,
                        (_, Some(last)) => self.ask_archive(wire, Some(last)).await,
                    }
                }
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// The archive has told everything: what of the doubtful is not there is sent again.
    async fn caught_up(&mut self, wire: &mut Wire) -> Result<(), Gone> {
        self.phase = Phase::Online;
        self.send(wire, "<presence/>".to_owned(), None).await?;
        for out in std::mem::take(&mut self.doubtful) {
            let Some(id) = out.message else { continue };
            if self.own.contains(&id) {
                self.write(Entry::Found(id.to_string()));
            } else if !self.refused.contains(&id) {
                self.write(Entry::Again(id.to_string()));
                self.send(wire, out.xml, Some(id)).await?;
            }
        }
        wire.send(&format!("<r xmlns='{SM}'/>")).await?;
        self.state.online.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The server has counted so many stanzas of this session.
    fn count(&mut self, number: u32) {
        let more = number.wrapping_sub(self.counted) as usize;
        if more > self.outgoing.len() {
            let (counted, waiting) = (self.counted, self.outgoing.len());
            return self.write(Entry::Wrong(format!("h={number} after {counted} with {waiting} on their way")));
        }
        self.counted = number;
        let done: Vec<Out> = self.outgoing.drain(..more).collect();
        for out in done {
            if let Some(id) = out.message {
                let took = u64::try_from(out.since.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.state.slowest.fetch_max(took, Ordering::Relaxed);
                if !self.refused.contains(&id) {
                    self.state.taken.fetch_add(1, Ordering::Relaxed);
                }
                self.write(Entry::Acked(id.to_string()));
            }
        }
        self.tell();
    }
}

/// Which message it is.
fn body(message: &Child<'_>) -> Option<Id> {
    Id::read(&message.child("jabber:client", "body")?.text())
}
