//! The requests of one BOSH session and what answers them (XEP-0124 §8 to §15): a state machine without clock or sockets.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use waxwing_core::namespaces;
use waxwing_core::stream_error::StreamError;

use super::key;
use crate::line::Said;

/// The namespace of `<body/>`.
pub(crate) const NAMESPACE: &str = "http://jabber.org/protocol/httpbind";

/// The largest request id: what a double holds exactly (XEP-0124 §14.1).
pub(crate) const LARGEST_RID: u64 = (1 << 53) - 1;

/// How often the same request may be sent again before that counts as an attack (XEP-0124 §14.3).
const MOST_REPEATS: u8 = 5;

/// What was agreed on for a session.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// How many requests are held.
    pub(crate) hold: usize,
    /// How many requests may be open.
    pub(crate) requests: usize,
    /// How long two empty requests must be apart.
    pub(crate) polling: Duration,
    /// How long there may be no request.
    pub(crate) inactivity: Duration,
    /// The longest pause.
    pub(crate) pause: Duration,
    /// Whether responses tell which requests have come.
    pub(crate) acknowledges: bool,
}

/// Where an answer goes.
pub(crate) trait Slot {
    /// Whether nobody waits there any more.
    fn is_gone(&self) -> bool;
}

/// What a client said: an element, or what is wrong with it.
pub(crate) type Heard = Result<Said, StreamError>;

/// One request, read.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) rid: u64,
    pub(crate) key: Option<String>,
    pub(crate) new_key: Option<String>,
    pub(crate) ack: Option<u64>,
    pub(crate) pause: Option<Duration>,
    pub(crate) terminates: bool,
    /// What it holds; for a restart, how the stream begins anew.
    pub(crate) content: Vec<Heard>,
    /// How long it was, in bytes.
    pub(crate) bytes: usize,
}

impl Request {
    fn is_empty(&self) -> bool {
        self.content.is_empty() && self.pause.is_none() && !self.terminates
    }
}

struct Held<T> {
    rid: u64,
    slot: T,
    repeats: u8,
}

/// What is to be said to whom.
pub(crate) type Answers<T> = Vec<(T, Bytes)>;

/// The state of one session's requests.
pub(crate) struct Exchange<T> {
    rules: Rules,
    /// The request whose turn it is.
    next: u64,
    /// Requests that came before their turn.
    early: BTreeMap<u64, (Request, T)>,
    /// Requests without a response, in order.
    held: VecDeque<Held<T>>,
    /// The newest responses, for clients that have not received them.
    answered: VecDeque<(u64, Bytes)>,
    /// What waits for a response.
    outbox: Vec<u8>,
    /// What was said and not taken yet, and how long that was.
    heard: VecDeque<Heard>,
    bytes: usize,
    /// What the next key must hash to.
    key: Option<String>,
    /// Attributes of the next response.
    attributes: String,
    /// Since when nobody waits.
    quiet_since: Option<Instant>,
    paused: Option<Duration>,
    /// When the newest request came, and whether it was empty.
    newest: Option<(Instant, bool)>,
    /// Whether the newest response held nothing.
    last_answer_was_empty: bool,
    /// The session is over: the last response.
    over: Option<Bytes>,
}

/// A `<body/>` with these attributes and this content.
pub(crate) fn body(attributes: &str, content: &[u8]) -> Bytes {
    let mut text = format!("<body xmlns='{NAMESPACE}' xmlns:stream='{}'", namespaces::STREAM).into_bytes();
    text.extend_from_slice(attributes.as_bytes());
    if content.is_empty() {
        text.extend_from_slice(b"/>");
    } else {
        text.push(b'>');
        text.extend_from_slice(content);
        text.extend_from_slice(b"</body>");
    }
    text.into()
}

/// The response that ends a session, for this reason if it is an error.
pub(crate) fn terminated(condition: Option<&str>, content: &[u8]) -> Bytes {
    let condition = condition.map(|condition| format!(" condition='{condition}'")).unwrap_or_default();
    body(&format!(" type='terminate'{condition}"), content)
}

impl<T: Slot> Exchange<T> {
    /// A session that begins with this request. Its first response has `attributes`.
    pub(crate) fn new(rules: Rules, first: Request, attributes: String, slot: T, now: Instant) -> Exchange<T> {
        let Request { rid, new_key, content, bytes, .. } = first;
        let mut exchange = Exchange {
            rules,
            next: rid + 1,
            early: BTreeMap::new(),
            held: VecDeque::new(),
            answered: VecDeque::new(),
            outbox: Vec::new(),
            heard: content.into(),
            bytes,
            key: new_key,
            attributes,
            quiet_since: None,
            paused: None,
            newest: Some((now, false)),
            last_answer_was_empty: false,
            over: None,
        };
        exchange.held.push_back(Held { rid, slot, repeats: 0 });
        exchange
    }

    /// A request comes.
    pub(crate) fn arrive(&mut self, request: Request, slot: T, now: Instant) -> Answers<T> {
        let mut answers = Vec::new();
        let rid = request.rid;
        if let Some(over) = &self.over {
            return vec![(slot, over.clone())];
        }
        if let Some(held) = self.held.iter_mut().find(|held| held.rid == rid) {
            held.repeats += 1;
            let is_attack = held.repeats > MOST_REPEATS;
            answers.push((std::mem::replace(&mut held.slot, slot), body(" type='error'", b"")));
            self.quiet_since = None;
            if is_attack {
                answers.extend(self.terminate(Some("policy-violation"), b""));
            } else {
                self.give(now, &mut answers);
            }
            return answers;
        }
        if let Some((_, response)) = self.answered.iter().find(|(answered, _)| *answered == rid) {
            return vec![(slot, response.clone())];
        }
        // XEP-0124 §14.2: the same answer for all that is wrong. The session itself goes on, or whoever learns a session's
        // id could end it (security row S29); who has really lost count hears that it is over for him.
        if rid < self.next || rid >= self.next.saturating_add(self.rules.requests as u64) {
            return vec![(slot, terminated(Some("item-not-found"), b""))];
        }
        if let Some((_, old)) = self.early.insert(rid, (request, slot)) {
            answers.push((old, body(" type='error'", b"")));
        }
        while let Some((request, slot)) = self.early.remove(&self.next) {
            self.take(request, slot, now, &mut answers);
            if self.over.is_some() {
                break;
            }
        }
        answers
    }

    /// Takes the request whose turn it is.
    fn take(&mut self, request: Request, slot: T, now: Instant, answers: &mut Answers<T>) {
        let problem = if !self.fits_key(&request) {
            Some("item-not-found")
        } else if self.is_too_fast(&request, now) {
            Some("policy-violation")
        } else {
            None
        };
        self.held.push_back(Held { rid: request.rid, slot, repeats: 0 });
        if problem.is_some() {
            answers.extend(self.terminate(problem, b""));
            return;
        }
        self.next += 1;
        self.newest = Some((now, request.is_empty()));
        (self.quiet_since, self.paused) = (None, None);
        if let Some(ack) = request.ack {
            self.answered.retain(|(rid, _)| *rid > ack);
        }
        self.bytes += request.bytes;
        self.heard.extend(request.content);
        if request.terminates {
            self.heard.push_back(Ok(Said::Close));
        }
        if let Some(pause) = request.pause {
            // XEP-0124 §10: everything is answered at once, and then nothing is expected for so long.
            while !self.held.is_empty() {
                self.answer_oldest(now, answers);
            }
            self.paused = Some(pause.min(self.rules.pause));
            return;
        }
        // The request that ends the session waits for its end.
        while self.held.len() > self.rules.hold && !request.terminates {
            self.answer_oldest(now, answers);
        }
        self.give(now, answers);
    }

    /// Whether a request holds the key that comes before the last one (XEP-0124 §15.4).
    fn fits_key(&mut self, request: &Request) -> bool {
        match (&self.key, &request.key) {
            (None, _) => {
                self.key = request.new_key.clone();
                true
            }
            (Some(last), Some(key)) if key::follows(last, key) => {
                self.key = request.new_key.clone().or_else(|| Some(key.clone()));
                true
            }
            (Some(_), _) => false,
        }
    }

    /// Whether empty requests come faster than they may (XEP-0124 §11, §12).
    fn is_too_fast(&self, request: &Request, now: Instant) -> bool {
        let Some((before, was_empty)) = self.newest else { return false };
        if !request.is_empty() || now.saturating_duration_since(before) >= self.rules.polling {
            return false;
        }
        if self.rules.hold == 0 {
            was_empty && self.last_answer_was_empty
        } else {
            self.held.len() + 1 >= self.rules.requests && self.held.iter().all(|held| !held.slot.is_gone())
        }
    }

    /// Answers the oldest request with what waits, or with nothing.
    fn answer_oldest(&mut self, now: Instant, answers: &mut Answers<T>) {
        let Some(Held { rid, slot, .. }) = self.held.pop_front() else { return };
        // What nobody would receive waits for somebody who does.
        let content = if slot.is_gone() { Vec::new() } else { std::mem::take(&mut self.outbox) };
        let mut attributes = std::mem::take(&mut self.attributes);
        let highest = self.next - 1;
        if self.rules.acknowledges && highest != rid && !attributes.contains(" ack=") {
            attributes.push_str(&format!(" ack='{highest}'"));
        }
        self.last_answer_was_empty = content.is_empty();
        let response = body(&attributes, &content);
        self.answered.push_back((rid, response.clone()));
        while self.answered.len() > self.rules.requests.max(1) {
            self.answered.pop_front();
        }
        answers.push((slot, response));
        self.note_quiet(now);
    }

    fn note_quiet(&mut self, now: Instant) {
        if self.held.iter().all(|held| held.slot.is_gone()) {
            self.quiet_since.get_or_insert(now);
        }
    }

    /// Answers whoever waits, if there is something to say.
    fn give(&mut self, now: Instant, answers: &mut Answers<T>) {
        while !self.outbox.is_empty() && self.held.iter().any(|held| !held.slot.is_gone()) {
            self.answer_oldest(now, answers);
        }
    }

    /// Something is to be said; [`Exchange::flush`] says it.
    pub(crate) fn write(&mut self, element: &[u8]) {
        if self.over.is_none() {
            self.outbox.extend_from_slice(element);
        }
    }

    /// Answers whoever waits, if there is something to say.
    pub(crate) fn flush(&mut self, now: Instant) -> Answers<T> {
        let mut answers = Vec::new();
        self.give(now, &mut answers);
        answers
    }

    /// A request has waited for as long as it may: it is answered, and all before it.
    pub(crate) fn expire(&mut self, rid: u64, now: Instant) -> Answers<T> {
        let mut answers = Vec::new();
        while self.held.front().is_some_and(|held| held.rid <= rid) {
            self.answer_oldest(now, &mut answers);
        }
        answers
    }

    /// Somebody who waited is gone.
    pub(crate) fn lost(&mut self, now: Instant) {
        self.note_quiet(now);
    }

    /// Ends the session: the oldest request is told why, the others are answered with nothing.
    pub(crate) fn terminate(&mut self, condition: Option<&str>, content: &[u8]) -> Answers<T> {
        if self.over.is_some() {
            return Vec::new();
        }
        let mut words = std::mem::take(&mut self.outbox);
        words.extend_from_slice(content);
        let last = terminated(condition, &words);
        self.over = Some(last.clone());
        let early = std::mem::take(&mut self.early).into_values().map(|(_, slot)| slot);
        let held = std::mem::take(&mut self.held).into_iter().map(|held| held.slot);
        let mut waiting: Vec<T> = held.chain(early).filter(|slot| !slot.is_gone()).collect();
        if waiting.is_empty() {
            return Vec::new();
        }
        let others = waiting.split_off(1);
        let mut answers: Answers<T> = waiting.into_iter().map(|oldest| (oldest, last.clone())).collect();
        answers.extend(others.into_iter().map(|other| (other, body("", b""))));
        answers
    }

    /// What was said next.
    pub(crate) fn next_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Whether something was said that was not taken yet; how many bytes came since this was asked.
    pub(crate) fn news(&mut self) -> Option<usize> {
        (!self.heard.is_empty()).then(|| std::mem::take(&mut self.bytes))
    }

    /// How much waits for a response, in bytes.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// When the client counts as gone, unless it asks for something before.
    pub(crate) fn dead_at(&self) -> Option<Instant> {
        let patience = self.paused.map_or(self.rules.inactivity, |pause| pause.max(self.rules.inactivity));
        self.quiet_since.map(|since| since + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot for tests: its number, and whether its client is gone.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Seat(u64, bool);

    impl Slot for Seat {
        fn is_gone(&self) -> bool {
            self.1
        }
    }

    fn rules(hold: usize) -> Rules {
        Rules {
            hold,
            requests: hold + 1,
            polling: Duration::from_secs(2),
            inactivity: Duration::from_secs(60),
            pause: Duration::from_secs(120),
            acknowledges: false,
        }
    }

    fn request(rid: u64) -> Request {
        Request { rid, ..Request::default() }
    }

    fn saying(rid: u64) -> Request {
        Request { content: vec![Ok(Said::Close)], ..request(rid) }
    }

    fn begin(hold: usize, now: Instant) -> Exchange<Seat> {
        let mut exchange = Exchange::new(rules(hold), saying(100), " sid='x'".to_owned(), Seat(100, false), now);
        exchange.write(b"<features/>");
        let answers = exchange.flush(now);
        assert_eq!(answers.len(), 1);
        assert!(text(&answers, 0).contains("sid='x'") && text(&answers, 0).contains("<features/>"));
        exchange
    }

    fn text(answers: &Answers<Seat>, index: usize) -> String {
        String::from_utf8(answers[index].1.to_vec()).unwrap()
    }

    fn seats(answers: &Answers<Seat>) -> Vec<u64> {
        answers.iter().map(|(seat, _)| seat.0).collect()
    }

    #[test]
    fn requests_are_held_until_there_is_something_to_say() {
        let now = Instant::now();
        let mut exchange = begin(1, now);
        assert!(exchange.arrive(request(101), Seat(101, false), now + Duration::from_secs(3)).is_empty());
        exchange.write(b"<a/>");
        exchange.write(b"<b/>");
        let answers = exchange.flush(now);
        assert_eq!(seats(&answers), [101]);
        assert!(text(&answers, 0).contains("><a/><b/></body>"));
        // One more than is held: the oldest is answered with nothing.
        assert!(exchange.arrive(saying(102), Seat(102, false), now).is_empty());
        let answers = exchange.arrive(saying(103), Seat(103, false), now);
        assert_eq!(seats(&answers), [102]);
        assert!(text(&answers, 0).ends_with("/>"));
        let answers = exchange.expire(103, now);
        assert_eq!(seats(&answers), [103]);
        assert_eq!(exchange.dead_at(), Some(now + Duration::from_secs(60)));
    }

    #[test]
    fn what_comes_out_of_order_is_heard_in_order() {
        let now = Instant::now();
        let mut exchange = begin(2, now);
        while exchange.next_heard().is_some() {}
        assert!(exchange.arrive(saying(102), Seat(102, false), now).is_empty());
        assert!(exchange.next_heard().is_none());
        assert!(exchange.arrive(saying(101), Seat(101, false), now).is_empty());
        assert!(exchange.next_heard().is_some() && exchange.next_heard().is_some());
        exchange.write(b"<a/>");
        assert_eq!(seats(&exchange.flush(now)), [101]);
    }

    #[test]
    fn s29_a_wrong_request_id_gets_nothing_and_ends_nothing() {
        let now = Instant::now();
        let mut exchange = begin(1, now);
        for wrong in [1, 99, 103, 1_000_000, LARGEST_RID] {
            let answers = exchange.arrive(saying(wrong), Seat(wrong, false), now);
            assert!(text(&answers, 0).contains("condition='item-not-found'"), "{wrong}");
        }
        assert!(!exchange.is_over());
        assert!(exchange.arrive(saying(101), Seat(101, false), now).is_empty());
    }

    #[test]
    fn a_response_that_was_lost_is_given_again_and_what_nobody_received_waits() {
        let now = Instant::now();
        let mut exchange = begin(1, now);
        let again = exchange.arrive(request(100), Seat(7, false), now);
        assert!(text(&again, 0).contains("<features/>"));
        // Its client is gone: nothing is given to it.
        exchange.arrive(saying(101), Seat(101, true), now);
        exchange.lost(now);
        exchange.write(b"<a/>");
        assert!(exchange.flush(now).is_empty());
        assert!(exchange.dead_at().is_some());
        // It asks again, and gets it.
        let answers = exchange.arrive(saying(101), Seat(8, false), now);
        assert_eq!(seats(&answers), [101, 8]);
        assert!(text(&answers, 0).contains("type='error'") && text(&answers, 1).contains("<a/>"));
    }

    #[test]
    fn too_many_repeats_end_the_session() {
        let now = Instant::now();
        let mut exchange = begin(1, now);
        exchange.arrive(saying(101), Seat(1, false), now);
        for _ in 0..MOST_REPEATS {
            exchange.arrive(saying(101), Seat(2, false), now);
            assert!(!exchange.is_over());
        }
        exchange.arrive(saying(101), Seat(3, false), now);
        assert!(exchange.is_over());
    }

    #[test]
    fn empty_requests_keep_their_distance() {
        let now = Instant::now();
        let mut polling = begin(0, now);
        let first = polling.arrive(request(101), Seat(101, false), now + Duration::from_secs(3));
        assert_eq!(seats(&first), [101]);
        let second = polling.arrive(request(102), Seat(102, false), now + Duration::from_secs(4));
        assert!(text(&second, 0).contains("condition='policy-violation'"));
        let mut patient = begin(0, now);
        for number in 1..5 {
            let answers = patient.arrive(request(100 + number), Seat(0, false), now + Duration::from_secs(3 * number));
            assert!(!text(&answers, 0).contains("terminate"));
        }
        let mut hasty = begin(1, now);
        hasty.arrive(request(101), Seat(101, false), now + Duration::from_secs(3));
        let answers = hasty.arrive(request(102), Seat(102, false), now + Duration::from_secs(4));
        assert!(text(&answers, 0).contains("condition='policy-violation'"));
    }

    #[test]
    fn a_pause_answers_everything_and_lengthens_the_patience() {
        let now = Instant::now();
        let mut exchange = begin(1, now);
        exchange.arrive(saying(101), Seat(101, false), now);
        let pause = Request { pause: Some(Duration::from_secs(500)), ..request(102) };
        assert_eq!(seats(&exchange.arrive(pause, Seat(102, false), now)), [101, 102]);
        assert_eq!(exchange.dead_at(), Some(now + Duration::from_secs(120)));
        exchange.arrive(saying(103), Seat(103, false), now);
        assert_eq!(exchange.dead_at(), None);
    }

    #[test]
    fn keys_must_follow_each_other() {
        let now = Instant::now();
        let keys: Vec<String> = (0..4)
            .scan("seed".to_owned(), |last, _| {
                *last = key::next(last);
                Some(last.clone())
            })
            .collect();
        let with = |rid: u64, key: &str, new_key: Option<&str>| Request {
            key: Some(key.to_owned()),
            new_key: new_key.map(str::to_owned),
            ..saying(rid)
        };
        let first = Request { new_key: Some(keys[2].clone()), ..saying(100) };
        let mut exchange = Exchange::new(rules(1), first, String::new(), Seat(100, false), now);
        exchange.arrive(with(101, &keys[1].to_uppercase(), None), Seat(101, false), now);
        exchange.arrive(with(102, &keys[0], Some(&keys[3])), Seat(102, false), now);
        exchange.arrive(with(103, &keys[2], None), Seat(103, false), now);
        assert!(!exchange.is_over());
        let answers = exchange.arrive(with(104, &keys[2], None), Seat(104, false), now);
        assert!(exchange.is_over() && text(&answers, 0).contains("condition='item-not-found'"));
    }

    #[test]
    fn the_end_is_told_to_the_oldest() {
        let now = Instant::now();
        let mut exchange = begin(2, now);
        exchange.arrive(saying(101), Seat(101, false), now);
        let goodbye = Request { terminates: true, ..request(102) };
        assert!(exchange.arrive(goodbye, Seat(102, false), now).is_empty());
        exchange.write(b"<late/>");
        let answers = exchange.terminate(None, b"");
        assert_eq!(seats(&answers), [101, 102]);
        assert!(text(&answers, 0).contains("type='terminate'") && text(&answers, 0).contains("<late/>"));
        assert!(!text(&answers, 1).contains("terminate"));
        let late = exchange.arrive(request(103), Seat(103, false), now);
        assert!(text(&late, 0).contains("type='terminate'"));
    }

    #[test]
    fn acknowledgements_tell_what_has_come() {
        let now = Instant::now();
        let settled = Rules { acknowledges: true, ..rules(1) };
        let mut exchange = Exchange::new(settled, saying(100), " ack='100'".to_owned(), Seat(100, false), now);
        exchange.expire(100, now);
        exchange.arrive(saying(101), Seat(101, false), now);
        let answers = exchange.arrive(Request { ack: Some(100), ..saying(102) }, Seat(102, false), now);
        assert!(text(&answers, 0).contains(" ack='102'"));
        let answers = exchange.expire(102, now);
        assert!(!text(&answers, 0).contains(" ack="));
    }
}
