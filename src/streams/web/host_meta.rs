//! Where else a host is served: host-meta in XML and JSON (XEP-0156, RFC 6415), with all that XEP-0487 wants to know.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use waxwing_core::config::Config;
use waxwing_core::http::{Caller, Handler, Request, Response, Route, answer, full, say};
use waxwing_core::xml::Writer;

use crate::federation::embassy_of;
use crate::listeners::Shared;
use crate::module::Settings;

const WEBSOCKET: &str = "urn:xmpp:alt-connections:websocket";
const BOSH: &str = "urn:xmpp:alt-connections:xbosh";
const TLS: &str = "urn:xmpp:alt-connections:tls";
const SERVER_TLS: &str = "urn:xmpp:alt-connections:s2s-tls";

/// For how long what is told may be kept, in seconds.
const LIFETIME: u32 = 3600;

/// The routes of host-meta.
pub(crate) fn routes(shared: &Arc<Shared>) -> [Route; 2] {
    const GET: &[Method] = &[Method::GET];
    let handler = |as_json| Arc::new(HostMeta { shared: shared.clone(), as_json });
    [
        Route::at("/.well-known/host-meta", GET, handler(false)),
        Route::at("/.well-known/host-meta.json", GET, handler(true)),
    ]
}

struct HostMeta {
    shared: Arc<Shared>,
    as_json: bool,
}

#[async_trait]
impl Handler for HostMeta {
    async fn handle(&self, _: Request, caller: Caller) -> Response {
        let config = self.shared.house.config();
        let host = caller.host.domain().as_str();
        let settings: Settings = config.module(host, "streams").unwrap_or_default();
        // Without a URL of its own the host is where it was asked for. In the clear that is good for this machine only.
        let base = settings.web_url.clone().or_else(|| match caller.is_encrypted {
            true => Some(format!("https://{}", caller.authority)),
            false if caller.may_log_in() => Some(format!("http://{}", caller.authority)),
            false => None,
        });
        let links = links(&config, base.as_deref());
        if links.is_empty() {
            return say(StatusCode::NOT_FOUND, "no other ways are known\n");
        }
        let mut response = match self.as_json {
            true => answer(StatusCode::OK, "application/json", full(self.json(&links, &settings, &caller))),
            false => answer(StatusCode::OK, "application/xrd+xml", full(xml_text(&links))),
        };
        // XEP-0156 §3.1: every page may read it.
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let open = HeaderValue::from_static("cross-origin");
        response.headers_mut().insert("cross-origin-resource-policy", open);
        if let Ok(lifetime) = HeaderValue::from_str(&format!("max-age={LIFETIME}")) {
            response.headers_mut().insert(CACHE_CONTROL, lifetime);
        }
        response
    }
}

impl HostMeta {
    fn json(&self, links: &[(&'static str, String)], settings: &Settings, caller: &Caller) -> String {
        let domain = caller.host.domain();
        let talks_to_servers = embassy_of(&self.shared.house, domain).is_some();
        json_text(links, &self.shared.house.config(), settings, domain.as_str(), talks_to_servers)
    }
}

/// Relation and URL of each way that the web offers.
fn links(config: &Config, base: Option<&str>) -> Vec<(&'static str, String)> {
    let Some(base) = base.map(|base| base.trim_end_matches('/')) else { return Vec::new() };
    // `http` becomes `ws`, `https` becomes `wss`.
    let socket = base.strip_prefix("http").map(|rest| format!("ws{rest}/xmpp-websocket"));
    let mut links = Vec::new();
    links.extend(socket.filter(|_| config.http.websocket).map(|url| (WEBSOCKET, url)));
    links.extend(config.http.bosh.then(|| (BOSH, format!("{base}/http-bind"))));
    links
}

fn xml_text(links: &[(&'static str, String)]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.open("XRD").attribute("xmlns", "http://docs.oasis-open.org/ns/xri/xrd-1.0");
    for (relation, url) in links {
        writer.open("Link").attribute("rel", relation).attribute("href", url).close();
    }
    writer.close();
    [b"<?xml version='1.0' encoding='utf-8'?>\n".as_slice(), &writer.finish(), b"\n"].concat()
}

/// The JSON form; with public addresses it says everything, so that nothing else needs to be looked up (XEP-0487 §2.2).
fn json_text(
    links: &[(&'static str, String)],
    config: &Config,
    settings: &Settings,
    host: &str,
    talks_to_servers: bool,
) -> String {
    let plain = links.iter().map(|(relation, url)| json!({"rel": relation, "href": url}));
    let addresses = &settings.public_addresses;
    if addresses.is_empty() {
        return json!({"links": plain.collect::<Vec<Value>>()}).to_string();
    }
    let whole = |mut link: Value, priority: u16, name: &str| {
        link["ips"] = json!(addresses);
        link["priority"] = json!(priority);
        link["weight"] = json!(0);
        link["sni"] = json!(name);
        link
    };
    // WebSocket shows the certificate of the name in its URL, the others that of the host.
    let web_name = settings.web_authority().map(|authority| waxwing_core::http::host_name(&authority).to_owned());
    let web_name = web_name.as_deref().unwrap_or(host);
    let mut all: Vec<Value> = plain.map(|link| whole(link, 20, web_name)).collect();
    let ports = |addresses: &[std::net::SocketAddr]| {
        let mut ports: Vec<u16> = addresses.iter().map(std::net::SocketAddr::port).collect();
        ports.dedup();
        ports
    };
    let listen = &config.listen;
    let clients = ports(&listen.c2s_tls).into_iter().chain(ports(&listen.all_tls)).map(|port| (TLS, port));
    let servers = ports(&listen.s2s_tls).into_iter().chain(ports(&listen.all_tls)).map(|port| (SERVER_TLS, port));
    let servers = servers.filter(|_| talks_to_servers);
    for (relation, port) in clients.chain(servers) {
        all.push(whole(json!({"rel": relation, "port": port}), 10, host));
    }
    json!({"xmpp": {"ttl": LIFETIME}, "links": all}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_tells_its_ways_in_both_forms() {
        let config = Config::default();
        let links = links(&config, Some("https://capulet.lit:5443/"));
        assert_eq!(links[0], (WEBSOCKET, "wss://capulet.lit:5443/xmpp-websocket".to_owned()));
        assert_eq!(links[1], (BOSH, "https://capulet.lit:5443/http-bind".to_owned()));
        let xml = String::from_utf8(xml_text(&links)).unwrap();
        assert!(xml.contains("<Link rel='urn:xmpp:alt-connections:websocket' href='wss://capulet.lit:5443/"), "{xml}");
        let plain: Value =
            serde_json::from_str(&json_text(&links, &config, &Settings::default(), "capulet.lit", false)).unwrap();
        assert!(plain.get("xmpp").is_none());
        assert_eq!(plain["links"][1]["rel"], BOSH);
    }

    #[test]
    fn with_public_addresses_nothing_else_needs_to_be_looked_up() {
        let mut config = Config::default();
        config.listen.c2s_tls = vec!["0.0.0.0:5223".parse().unwrap(), "[::]:5223".parse().unwrap()];
        config.listen.all_tls = vec!["0.0.0.0:443".parse().unwrap()];
        let settings = Settings {
            public_addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            web_url: Some("https://web.capulet.lit".to_owned()),
            ..Settings::default()
        };
        let links = links(&config, settings.web_url.as_deref());
        let all: Value = serde_json::from_str(&json_text(&links, &config, &settings, "capulet.lit", true)).unwrap();
        assert_eq!(all["xmpp"]["ttl"], LIFETIME);
        let links = all["links"].as_array().unwrap();
        assert_eq!(links.len(), 5);
        for link in links {
            assert_eq!(link["ips"], json!(["192.0.2.1", "2001:db8::1"]));
            assert!(link["priority"].is_u64() && link["weight"].is_u64());
        }
        assert_eq!((&links[0]["sni"], &links[2]["sni"]), (&json!("web.capulet.lit"), &json!("capulet.lit")));
        let way = |index: usize| (links[index]["rel"].as_str().unwrap(), links[index]["port"].as_u64().unwrap());
        assert_eq!([way(2), way(3), way(4)], [(TLS, 5223), (TLS, 443), (SERVER_TLS, 443)]);
    }
}
