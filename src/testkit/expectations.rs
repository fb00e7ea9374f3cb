//! What a raw client expects: elements that fit a template, silence, and proper endings.

use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::Ending;
use crate::client::{Next, Place, RawClient};
use crate::compare::{Captures, compare};
use crate::reader::Item;
use crate::template;
use crate::tree::Element;

impl RawClient {
    /// The next element must fit the template.
    #[track_caller]
    pub fn expect(&mut self, template: impl AsRef<str>) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move { self.expect_at(place, template.as_ref()).await }
    }

    pub(crate) async fn expect_at(&mut self, place: Place, template: &str) -> Element {
        let pattern = self.pattern(place, template);
        let element = self.element(place, &template::shown(&pattern)).await;
        match compare(&pattern, &element) {
            Ok(captures) => self.keep(captures),
            Err(problem) => {
                self.fail(place, format!("{problem}\nexpected: {}\n   found: {element}", template::shown(&pattern)))
            }
        }
        element
    }

    /// The next elements, one for each template, must fit them in some order; given back in the order of the templates.
    #[track_caller]
    pub fn expect_in_any_order(&mut self, templates: &[impl AsRef<str>]) -> impl Future<Output = Vec<Element>> {
        let place = Location::caller();
        async move {
            let mut waiting: Vec<_> =
                templates.iter().map(|template| Some(self.pattern(place, template.as_ref()))).collect();
            let mut found = vec![Element::default(); waiting.len()];
            for _ in 0..found.len() {
                let left = waiting.iter().flatten().map(template::shown).collect::<Vec<_>>().join("\n          ");
                let element = self.element(place, &format!("one of {left}")).await;
                let fitting = waiting
                    .iter()
                    .enumerate()
                    .find_map(|(index, pattern)| Some((index, compare(pattern.as_ref()?, &element).ok()?)));
                let Some((index, captures)) = fitting else {
                    self.fail(place, format!("none fits\nexpected: {left}\n   found: {element}"));
                };
                self.keep(captures);
                waiting[index] = None;
                found[index] = element;
            }
            found
        }
    }

    fn pattern(&self, place: Place, template: &str) -> Element {
        template::pattern(template, &self.names).unwrap_or_else(|problem| self.fail(place, problem))
    }

    fn keep(&self, captures: Captures) {
        for (name, value) in captures {
            self.names.set(&name, value);
        }
    }

    // ---- nothing comes ---------------------------------------------------------------------------------------------

    /// Nothing comes for this long. Slow by nature: [`barrier`](Self::barrier) proves nearly as much and is fast.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            match self.next(Instant::now() + duration).await {
                Next::Silence => {}
                Next::Item(item) => self.fail(place, format!("expected silence, found {item:?}")),
                Next::Nonsense(problem) => self.fail(place, format!("expected silence, but {problem}")),
                Next::Ended(ending) => {
                    self.fail(place, format!("expected silence, but the connection ended: {ending:?}"))
                }
            }
        }
    }

    /// A ping to the server and its answer, and nothing before the answer: all the client has sent is done, and nobody
    /// has sent it anything. Works on bound sessions.
    #[track_caller]
    pub fn barrier(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            let before = self.drain_at(place).await;
            if let Some(element) = before.first() {
                self.fail(place, format!("expected nothing more, found {element}"));
            }
        }
    }

    /// A ping to the server and its answer; gives back what came before the answer.
    #[track_caller]
    pub fn drain(&mut self) -> impl Future<Output = Vec<Element>> {
        let place = Location::caller();
        async move { self.drain_at(place).await }
    }

    pub(crate) async fn drain_at(&mut self, place: Place) -> Vec<Element> {
        self.pings += 1;
        let id = format!("kit-ping-{}", self.pings);
        let host = self.bare().split('@').next_back().unwrap_or_default().to_owned();
        self.send_bytes(format!("<iq type='get' id='{id}' to='{host}'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        let mut before = Vec::new();
        loop {
            let element = self.element(place, "the answer to a ping").await;
            if element.name == "iq" && element.attribute("id") == Some(&id) {
                return before;
            }
            before.push(element);
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// The stream ends with this error (`a|b` where the rules leave a choice): our header before it if none has come yet
    /// (RFC 6120 §4.9.1.2), `<stream:error/>`, the closing tag, and the end of the connection, in good order.
    #[track_caller]
    pub fn expect_stream_error(&mut self, condition: &str) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move {
            let expected = format!("a stream error <{condition}/>");
            if !self.has_stream {
                self.header_at(place, &format!("a stream header before {expected}")).await;
            }
            let error = self.element(place, &expected).await;
            if let Err(problem) = check_stream_error(&error, condition) {
                self.fail(place, format!("expected {expected}: {problem}: {error}"));
            }
            self.expect_end_at(place).await;
            error
        }
    }

    /// The closing tag of the stream comes, and then the end of the connection in good order; the client closes its
    /// direction, too.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move { self.expect_end_at(place).await }
    }

    async fn expect_end_at(&mut self, place: Place) {
        let item = self.item(place, "</stream:stream>").await;
        if item != Item::Close {
            self.fail(place, format!("expected </stream:stream>, found {item:?}"));
        }
        if !self.has_closed {
            self.send_bytes("</stream:stream>").await;
        }
        self.shut_down().await;
        match self.ending_at(place).await {
            Ending::Proper => {}
            Ending::Broken(how) => self.fail(place, format!("the connection did not end in good order: {how}")),
        }
    }

    /// The connection ends without another word on the stream.
    #[track_caller]
    pub fn expect_close(&mut self) -> impl Future<Output = Ending> {
        let place = Location::caller();
        async move { self.ending_at(place).await }
    }

    pub(crate) async fn ending_at(&mut self, place: Place) -> Ending {
        match self.next_in_time().await {
            Next::Ended(ending) => ending,
            Next::Item(item) => self.fail(place, format!("expected the end of the connection, found {item:?}")),
            Next::Nonsense(problem) => self.fail(place, format!("expected the end of the connection, but {problem}")),
            Next::Silence => self.fail(place, format!("the connection is still open after {:?}", self.patience)),
        }
    }
}

/// RFC 6120 §4.9.2: one defined condition first, then at most one text, then at most one condition of an application.
fn check_stream_error(error: &Element, conditions: &str) -> Result<(), String> {
    const STREAMS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
    if (error.namespace.as_str(), error.name.as_str()) != ("http://etherx.jabber.org/streams", "error") {
        return Err("it is no stream error".to_owned());
    }
    let mut children = error.elements();
    match children.next() {
        Some(first) if first.namespace == STREAMS && conditions.split('|').any(|name| name == first.name) => {}
        first => return Err(format!("the condition is {}", first.map_or("missing", |first| first.name.as_str()))),
    }
    let rest: Vec<_> = children.collect();
    let texts = rest.iter().filter(|child| child.namespace == STREAMS).count();
    let is_text = |child: &&&Element| child.namespace == STREAMS && child.name == "text";
    if texts != rest.iter().filter(is_text).count() || texts > 1 || rest.len() - texts > 1 {
        return Err("there is more than one condition".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::transcript::Transcript;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const HEADER: &str =
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>";
    const RESET: &str = "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    const END: &str = "</stream:stream>";

    /// What a client does with a server that says these words, and then closes or stays; whether the client is content.
    async fn judged<F>(words: String, closes: bool, client: fn(RawClient) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(words.as_bytes()).await.unwrap();
            if closes {
                socket.shutdown().await.unwrap();
            }
            let mut read = Vec::new();
            let _ = socket.read_to_end(&mut read).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        let (names, transcript) = (Names::default(), Transcript::default());
        let mut raw = RawClient::open("test", address, names, transcript, "a.b", std::path::PathBuf::new()).await;
        raw.set_patience(Duration::from_millis(300));
        let content = tokio::spawn(client(raw)).await.is_ok();
        server.abort();
        content
    }

    #[tokio::test]
    async fn a_stream_error_counts_only_when_all_of_it_is_right() {
        let expects = async |words: String, closes| {
            judged(words, closes, |mut client: RawClient| async move {
                client.expect_stream_error("reset").await;
            })
            .await
        };
        assert!(expects(format!("{HEADER}{RESET}{END}"), true).await);
        assert!(!expects(format!("{HEADER}{RESET}{END}"), false).await, "the connection stays open");
        assert!(!expects(format!("{HEADER}{RESET}"), true).await, "no closing tag");
        assert!(!expects(format!("{HEADER}{END}"), true).await, "no error");
        assert!(!expects(format!("{HEADER}<message/>{RESET}{END}"), true).await, "something before it");
        assert!(!expects(format!("{HEADER}{RESET}{END}<message/>"), true).await, "something behind it");
        assert!(!expects(format!("{HEADER}{}{END}", RESET.replace("reset", "conflict")), true).await, "another error");
        assert!(!expects(RESET.to_owned(), true).await, "no header before it");
        assert!(!expects(String::new(), true).await, "nothing at all");
    }

    #[tokio::test]
    async fn elements_count_only_when_they_fit_and_come_in_time() {
        let expects = async |words: &str| {
            judged(format!("{HEADER}{words}"), false, |mut client: RawClient| async move {
                client.expect_header().await;
                client.expect("<message id='{capture:id}'/>").await;
                assert_eq!(client.captured("id"), "1");
                client.expect_silence(Duration::from_millis(50)).await;
            })
            .await
        };
        assert!(expects("<message id='1'/>").await);
        assert!(expects(" <message id='1'/>\n").await);
        assert!(!expects("<message id='1'/><message/>").await, "no silence");
        assert!(!expects("<message id='1' to='a'/>").await, "another attribute");
        assert!(!expects("<presence/><message id='1'/>").await, "another element before it");
        assert!(!expects("").await, "nothing");
        assert!(!expects("<message id='1'").await, "half of it");
        assert!(!expects("<message id='1'/></stream:stream>").await, "an end is no silence");
    }

    #[tokio::test]
    async fn a_barrier_lets_nothing_pass_before_it() {
        let pong = "<iq type='result' id='kit-ping-1'/>";
        let barrier = async |words: String| {
            judged(words, false, |mut client: RawClient| async move {
                client.expect_header().await;
                client.barrier().await;
            })
            .await
        };
        assert!(barrier(format!("{HEADER}{pong}")).await);
        assert!(barrier(format!("{HEADER}{}", pong.replace("result", "error"))).await);
        assert!(!barrier(format!("{HEADER}<message/>{pong}")).await);
        assert!(!barrier(HEADER.to_owned()).await);
    }

    #[tokio::test]
    async fn several_elements_may_come_in_any_order() {
        let expects = async |words: &str| {
            judged(format!("{HEADER}{words}"), false, |mut client: RawClient| async move {
                client.expect_header().await;
                let found = client.expect_in_any_order(&["<presence from='a'/>", "<presence from='{any}'/>"]).await;
                assert_eq!(found[1].attribute("from"), Some("b"));
            })
            .await
        };
        assert!(expects("<presence from='a'/><presence from='b'/>").await);
        assert!(!expects("<presence from='b'/><presence from='c'/>").await);
        assert!(!expects("<presence from='a'/>").await);
    }

    #[test]
    fn a_stream_error_has_one_condition() {
        let judge = |inside: &str, conditions: &str| {
            let error = Element::parse(&format!("<stream:error>{inside}</stream:error>")).unwrap();
            check_stream_error(&error, conditions)
        };
        let condition = "<reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>";
        let text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>why</text>";
        judge(condition, "reset").unwrap();
        judge(&format!("{condition}{text}<x xmlns='urn:x'/>"), "conflict|reset").unwrap();
        judge(condition, "conflict").unwrap_err();
        judge("", "reset").unwrap_err();
        judge(&format!("{text}{condition}"), "reset").unwrap_err();
        judge(&format!("{condition}{condition}"), "reset").unwrap_err();
        judge("<reset/>", "reset").unwrap_err();
    }
}
