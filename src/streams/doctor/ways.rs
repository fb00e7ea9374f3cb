//! What is wrong with the ways for browsers: host-meta, WebSocket, BOSH.

use super::facts::{Facts, HostMeta, Relation};
use super::judging::finding;
use super::report::{Finding, Level, Section};

/// What lets host-meta be read.
const SERVE: &str = "Waxwing, [listen]: https = [\"0.0.0.0:443\", \"[::]:443\"]";

/// Judges what the web of a domain says.
pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let url = format!("https://{}/.well-known/host-meta", facts.domain);
    let xml_is_there = matches!(&facts.web.xml, Some(Ok(HostMeta { status: 200, .. })));
    if let Some(xml) = &facts.web.xml {
        judge_file(&url, xml, Level::Warning, findings);
    }
    if let Some(json) = &facts.web.json
        && xml_is_there
    {
        judge_file(&format!("{url}.json"), json, Level::Note, findings);
    }
    if xml_is_there && facts.web.links.is_empty() {
        let text = "host-meta names neither a WebSocket nor BOSH, so browsers find no way";
        findings.push(
            finding(Section::Web, Level::Warning, text)
                .mend("Waxwing, [http]: websocket = true, and [modules.streams]: web_url, when a proxy is in front"),
        );
    }
    for link in &facts.web.links {
        let name = match link.relation {
            Relation::WebSocket => "WebSocket",
            Relation::Bosh => "BOSH",
        };
        findings.push(match &link.tried {
            Ok(()) => finding(Section::Web, Level::Good, format!("{name}: {}", link.url)),
            Err(why) => {
                let said = finding(Section::Web, Level::Broken, format!("{name}: {}: {why}", link.url));
                let url = &link.url;
                let said = said.mend(format!("let {url} lead to the server, or take it out of host-meta"));
                match link.relation {
                    Relation::Bosh => said,
                    Relation::WebSocket => said.mend(
                        "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
                         proxy_set_header Connection \"upgrade\";",
                    ),
                }
            }
        });
    }
}

fn judge_file(url: &str, file: &Result<HostMeta, String>, level: Level, findings: &mut Vec<Finding>) {
    let file_name = url.rsplit('/').next().unwrap_or_default();
    let lead = format!(
        "let {url} lead to the server; nginx: location = /.well-known/{file_name} {{ proxy_pass http://127.0.0.1:5280; }}"
    );
    match file {
        Ok(HostMeta { status: 200, open_to_pages: true, .. }) => {
            findings.push(finding(Section::Web, Level::Good, url));
        }
        Ok(HostMeta { status: 200, .. }) => findings.push(
            finding(Section::Web, level, format!("{url}: pages of other domains may not read it (XEP-0156 §3)")).mend(
                "add the header Access-Control-Allow-Origin: *; nginx: add_header Access-Control-Allow-Origin *;",
            ),
        ),
        Ok(HostMeta { status, .. }) => findings.push(
            finding(Section::Web, level, format!("{url}: it is not there (status {status}), so browsers find no way"))
                .mend(lead)
                .mend(SERVE),
        ),
        Err(why) => findings.push(finding(Section::Web, level, format!("{url}: {why}")).mend(lead).mend(SERVE)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{LinkFacts, WebFacts};
    use super::*;

    fn levels(web: WebFacts) -> Vec<Level> {
        let facts =
            Facts { domain: "capulet.lit".to_owned(), now: 0, private_addresses: false, services: Vec::new(), web };
        let mut findings = Vec::new();
        judge(&facts, &mut findings);
        assert!(findings.iter().all(|one| one.level < Level::Note || !one.mend.is_empty()), "{findings:?}");
        findings.into_iter().map(|finding| finding.level).collect()
    }

    fn meta(status: u16, open_to_pages: bool) -> Option<Result<HostMeta, String>> {
        Some(Ok(HostMeta { status, open_to_pages, links: Vec::new() }))
    }

    fn link(tried: Result<(), String>) -> LinkFacts {
        LinkFacts { relation: Relation::WebSocket, url: "wss://capulet.lit/ws".to_owned(), tried }
    }

    #[test]
    fn browsers_need_host_meta_and_what_it_names() {
        use Level::{Broken, Good, Note, Warning};
        let good = WebFacts { xml: meta(200, true), json: meta(200, true), links: vec![link(Ok(()))] };
        assert_eq!(levels(good), [Good, Good, Good]);
        let closed =
            WebFacts { xml: meta(200, false), json: meta(404, false), links: vec![link(Err("no".to_owned()))] };
        assert_eq!(levels(closed), [Warning, Note, Broken]);
        let empty = WebFacts { xml: meta(200, true), json: None, links: Vec::new() };
        assert_eq!(levels(empty), [Good, Warning]);
        // Where there is no web, it is said once.
        let none = WebFacts { xml: meta(404, false), json: meta(404, false), links: Vec::new() };
        assert_eq!(levels(none), [Warning]);
        let dead = WebFacts { xml: Some(Err("x".to_owned())), json: Some(Err("x".to_owned())), links: Vec::new() };
        assert_eq!(levels(dead), [Warning]);
    }
}
