//! Discovery of the ways into the server: host-meta (XEP-0156), host-meta 2 (XEP-0487).

use waxwing_testkit::TestServer;
use waxwing_testkit::http::request;

use crate::common::{SERVER, options};

#[tokio::test]
async fn host_meta_names_websocket_and_bosh_in_both_forms() {
    let scene = SERVER.scene().await;
    let address = scene.server().addresses().http[0];
    let headers = [("host", "capulet.lit:5280"), ("origin", "https://anywhere.lit")];
    let xml = request(address, "GET /.well-known/host-meta HTTP/1.1", &headers, "").await;
    assert_eq!((xml.status, xml.header("content-type")), (200, Some("application/xrd+xml")));
    let (websocket, bosh) = ("ws://capulet.lit:5280/xmpp-websocket", "http://capulet.lit:5280/http-bind");
    assert!(xml.text().contains(&format!("<Link rel='urn:xmpp:alt-connections:websocket' href='{websocket}'/>")));
    assert!(xml.text().contains(&format!("<Link rel='urn:xmpp:alt-connections:xbosh' href='{bosh}'/>")));
    let json = request(address, "GET /.well-known/host-meta.json HTTP/1.1", &headers, "").await;
    assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")));
    assert!(json.text().contains(websocket) && json.text().contains(bosh), "{}", json.text());
    for answer in [xml, json] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn a_host_tells_its_own_url_and_its_addresses() {
    let own = "[modules.streams]\nweb_url = 'https://web.capulet.lit'\npublic_addresses = ['192.0.2.1']\n\
               [http]\nbosh = false";
    let server = TestServer::start(options().toml(own)).await;
    let address = server.addresses().http[0];
    for host in ["capulet.lit", "web.capulet.lit"] {
        let json = request(address, "GET /.well-known/host-meta.json HTTP/1.1", &[("host", host)], "").await.text();
        assert!(json.contains("\"wss://web.capulet.lit/xmpp-websocket\""), "{json}");
        assert!(json.contains("\"ttl\":") && json.contains("192.0.2.1") && !json.contains("http-bind"), "{json}");
        assert!(json.contains("urn:xmpp:alt-connections:tls"), "{json}");
    }
}
