//! What is ours of the web client: its page, the script that starts it for a host, and what a browser lets it do.

use serde_json::json;

/// What a host offers to a web client.
pub struct Offer<'a> {
    /// The host that people sign in to.
    pub host: &'a str,
    /// Whether they may come over WebSocket.
    pub websocket: bool,
    /// Whether they may come over BOSH.
    pub bosh: bool,
    /// Whether they may make an account.
    pub has_sign_up: bool,
}

/// The page. Its script stands in a file of its own, so that nothing written into a page ever runs.
pub fn html(host: &str, files: &str) -> String {
    let host = host.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{host}</title>\n\
         <link rel=\"icon\" href=\"{files}/images/favicon.ico\">\n\
         <link rel=\"stylesheet\" href=\"{files}/converse.min.css\">\n\
         <script type=\"module\" src=\"{files}/converse.min.js\"></script>\n\
         <script type=\"module\" src=\"{files}/start.js\"></script>\n</head>\n\
         <body class=\"converse-fullscreen\">\n\
         <noscript>This is a chat client. It needs JavaScript.</noscript>\n</body>\n</html>\n"
    )
}

/// Converse.js closes its front page with pictures from its own site, which no setting turns off and the policy stops. An
/// element that exists already is not defined again: this one, with the same thanks, comes first.
const FOOTER: &str = r#"class Footer extends HTMLElement {
  connectedCallback() {
    this.innerHTML = `<footer class="footer mt-auto py-3"><p class="brand-subtitle text-center">This chat client is
      <a target="_blank" rel="noopener" href="https://github.com/conversejs/converse.js">Converse.js</a>, free software by
      its authors and <a target="_blank" rel="noopener" href="https://conversejs.org">sponsors</a>.</p></footer>`;
  }
}
customElements.define("converse-footer", Footer);
"#;

/// Who accepts a contact in Converse.js 14.0.0 never asks back: its form calls a method that has another name now, and the
/// one of the old name, which wants arguments, does something else.
const MENDED: &str = r#"converse.plugins.add("waxwing-mended", {
  dependencies: ["converse-roster"],
  initialize() {
    const contact = this._converse.exports.RosterContact.prototype;
    const { subscribe, subscribeToPresence } = contact;
    contact.subscribe = function (...given) {
      return (given.length ? subscribe : subscribeToPresence).apply(this, given);
    };
  },
});
"#;

/// The script that starts Converse.js. Whatever it would load or ask elsewhere by itself is turned off.
pub fn script(offer: &Offer<'_>, files: &str, main: &str) -> String {
    let settings = json!({
        "view_mode": "fullscreen",
        "authentication": "login",
        "locked_domain": offer.host,
        "discover_connection_methods": false,
        "allow_registration": offer.has_sign_up,
        "registration_domain": offer.host,
        "providers_link": "",
        "xmpp_providers_url": "",
        "autocomplete_providers_url": "",
        // Without any, the client has no field for the name of a room. The host knows no such search and says so.
        "muc_search_service": offer.host,
        // In rooms people have the name of their account, until they take another.
        "muc_nickname_from_jid": true,
        "assets_path": files,
        "notification_icon": format!("{files}/images/logo/conversejs-filled.svg"),
        "use_system_emojis": true,
        "embed_3rd_party_media_players": false,
        "whitelisted_plugins": ["waxwing-mended"],
    });
    let mut script = format!("import converse from \"{files}/{main}\";\n\nconst settings = {settings};\n");
    if offer.websocket {
        script.push_str(
            "const scheme = location.protocol === \"https:\" ? \"wss:\" : \"ws:\";\n\
             settings.websocket_url = `${scheme}//${location.host}/xmpp-websocket`;\n",
        );
    }
    if offer.bosh {
        script.push_str("settings.bosh_service_url = `${location.origin}/http-bind`;\n");
    }
    script.push_str(FOOTER);
    script.push_str(MENDED);
    script.push_str("converse.initialize(settings);\n");
    script
}

/// What the page may load and ask, as a content security policy: its own origin, other ports of the same host for uploads,
/// and what the operator adds. `wasm-unsafe-eval` is for the cryptography of OMEMO; styles stand in the client's templates.
///
/// # Errors
/// Which of the operator's places is none.
pub fn policy(host: &str, media_from: &[String]) -> Result<String, String> {
    let mut elsewhere = String::new();
    // A policy knows names in ASCII only.
    if host.is_ascii() && !host.contains(':') {
        elsewhere.push_str(&format!(" https://{host}:*"));
        if host == "localhost" || host.starts_with("127.") {
            elsewhere.push_str(&format!(" http://{host}:*"));
        }
    }
    for place in media_from {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".:/-*[]".contains(&byte);
        let is_place = place == "https:" || place.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
        if !is_place || !place.bytes().all(fits) {
            return Err(format!("media_from: {place:?} is no place, write \"https://files.example.org\""));
        }
        elsewhere.push_str(&format!(" {place}"));
    }
    Ok(format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data: blob:{elsewhere}; media-src 'self' data: blob:{elsewhere}; font-src 'self' data:; \
         connect-src 'self'{elsewhere}; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer<'_> = Offer { host: "capulet.lit", websocket: true, bosh: true, has_sign_up: true };

    #[test]
    fn the_script_offers_what_the_host_offers() {
        let all = script(&ALL, "/client", "converse.min.js");
        for part in
            ["\"locked_domain\":\"capulet.lit\"", "\"allow_registration\":true", "/xmpp-websocket", "/http-bind"]
        {
            assert!(all.contains(part), "{part} in {all}");
        }
        let little = script(&Offer { websocket: false, has_sign_up: false, ..ALL }, "/client", "converse.min.js");
        assert!(!little.contains("websocket_url") && little.contains("\"allow_registration\":false"));
        assert!(!script(&Offer { bosh: false, ..ALL }, "/client", "converse.min.js").contains("bosh_service_url"));
    }

    #[test]
    fn nothing_of_ours_points_to_another_host() {
        let ours = html("capulet.lit", "/client") + &script(&ALL, "/client", "converse.min.js");
        // But for links, which load nothing.
        let ours = ours.replace("rel=\"noopener\" href=\"https://", "");
        assert!(!ours.contains("http://") && !ours.contains("https://") && !ours.contains("src=\"//"), "{ours}");
        assert!(!html("<b>&", "/client").contains("<b>"));
    }

    #[test]
    fn the_policy_knows_this_host_and_what_the_operator_adds() {
        let plain = policy("capulet.lit", &[]).unwrap();
        assert!(plain.contains("connect-src 'self' https://capulet.lit:*;"), "{plain}");
        assert!(!plain.contains("http://") && !plain.contains("'unsafe-eval'"), "{plain}");
        assert!(!plain.contains("script-src 'self' 'unsafe-inline'"), "{plain}");
        assert!(policy("localhost", &[]).unwrap().contains(" http://localhost:*"));
        assert!(policy("ä.lit", &[]).unwrap().is_ascii());
        let more = policy("capulet.lit", &["https://files.lit".to_owned(), "https:".to_owned()]).unwrap();
        assert!(more.contains("blob: https://capulet.lit:* https://files.lit https:;"), "{more}");
        for wrong in ["", "*", "files.lit", "http://files.lit", "https://", "https://a; script-src *", "https://a 'x'"]
        {
            assert!(policy("capulet.lit", &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
