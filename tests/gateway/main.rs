//! The gateway to devices that sleep, against services that run here: they check signatures and read what is encrypted.

#[path = "../common/mod.rs"]
mod common;

mod apple;
mod applications;
mod browser;
mod browsers;
mod chain;
mod google;
mod rules;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::options;
use waxwing_testkit::{RawClient, Scene, TestOptions, TestServer};

/// What a test keeps while it runs: a server with a gateway, and the folder with its keys.
struct Town {
    server: Arc<TestServer>,
    scene: Scene,
    folder: tempfile::TempDir,
}

impl Town {
    /// A server whose gateway trusts this authority, with more settings, in which `{folder}` stands for the folder.
    async fn new(authority: &str, settings: &str) -> Town {
        Town::with(authority, settings, |_| {}, options()).await
    }

    /// As [`Town::new`], with files that `fill` puts into the folder before.
    async fn with(authority: &str, settings: &str, fill: impl FnOnce(&Path), options: TestOptions) -> Town {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("authority.pem"), authority).expect("a file");
        fill(folder.path());
        let private = if settings.contains("private_addresses") { "" } else { "private_addresses = true\n" };
        let all = format!(
            "[modules.push_gateway]\nauthorities = \"{{folder}}/authority.pem\"\nlongest_pause = \"1s\"\n\
             {private}{settings}"
        );
        let server =
            TestServer::start(options.toml(all.replace("{folder}", folder.path().to_str().expect("a path")))).await;
        Town { scene: server.scene(), server, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A gateway for browsers.
const WEB: &str = "[modules.push_gateway.web_push]\nkey = \"{folder}/vapid.pem\"\nmake_key = true\n\
                   contact = \"mailto:abbot@verona.lit\"\n";

/// Registers a device; `{node}` and `{secret}` are known from then on.
async fn register(client: &mut RawClient, command: &str, fields: &[(&str, &str)]) {
    client.send(submit(command, fields)).await;
    let field = |name: &str, value: &str| {
        format!("<field var='{name}' type='text-single' label='{name}'><value>{value}</value></field>")
    };
    let (jid, node, secret) =
        (field("jid", "push.{host}"), field("node", "{capture:node}"), field("secret", "{capture:secret}"));
    client
        .expect(format!(
            "<iq type='result' id='register' from='push.{{host}}' to='{{any}}'>\
             <command xmlns='http://jabber.org/protocol/commands' node='{command}' sessionid='{{any}}' status='completed'>\
             <x xmlns='jabber:x:data' type='result'>{jid}{node}{secret}</x></command></iq>"
        ))
        .await;
}

/// A command with a form that is filled in.
fn submit(command: &str, fields: &[(&str, &str)]) -> String {
    let fields: String =
        fields.iter().map(|(name, value)| format!("<field var='{name}'><value>{value}</value></field>")).collect();
    format!(
        "<iq type='set' id='register' to='push.{{host}}'>\
         <command xmlns='http://jabber.org/protocol/commands' node='{command}' action='execute'>\
         <x xmlns='jabber:x:data' type='submit'>{fields}</x></command></iq>"
    )
}

/// What the user's server publishes (XEP-0357 §7), under this id.
fn publish(id: &str) -> String {
    publish_with(id, "{secret}")
}

fn publish_with(id: &str, secret: &str) -> String {
    format!(
        "<iq type='set' id='{id}' to='push.{{host}}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <publish node='{{node}}'><item><notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field>\
         <field var='message-count'><value>1</value></field>\
         <field var='last-message-sender'><value>romeo@montague.lit/orchard</value></field>\
         <field var='last-message-body'><value>Call me but love</value></field></x></notification></item></publish>\
         <publish-options><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='secret'><value>{secret}</value></field></x></publish-options></pubsub></iq>"
    )
}

/// Publishes, and expects that it is taken.
async fn publish_and_succeed(client: &mut RawClient, id: &str) {
    client.send(publish(id)).await;
    client.expect(format!("<iq type='result' id='{id}' from='push.{{host}}' to='{{any}}'/>")).await;
}

/// Publishes, and expects this error.
async fn publish_and_fail(client: &mut RawClient, id: &str, error: &str) {
    client.send(publish(id)).await;
    client.expect(refused(id, error)).await;
}

fn refused(id: &str, error: &str) -> String {
    format!("<iq type='error' id='{id}' from='push.{{host}}' to='{{any}}'>{{error:{error}}}{{…}}</iq>")
}
