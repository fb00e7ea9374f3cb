//! `waxwing.doap`: a description of the project for machines (XEP-0453), from the manifests of its modules.

use std::fmt::Write as _;

use waxwing_core::module::{Plan, Xep};

/// What the hall carries without a module.
const FLOORS: [Xep; 1] = [Xep::partial(359, "0.7.0", "forged ids are stripped; ids are given by the archive")];

const RFCS: [u32; 7] = [5802, 6120, 6121, 6122, 7590, 7677, 9266];

const OPENING: &str = "\
<?xml version='1.0' encoding='UTF-8'?>
<!-- Generated from the manifests of the modules by `cargo run -p xtask -- doap`. -->
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project xml:lang='en'>
    <name>Waxwing</name>
    <shortdesc>An XMPP server: federated, durable, small</shortdesc>
    <description>Waxwing is an XMPP server written in Rust. What it acknowledges is stored.</description>
    <programming-language>Rust</programming-language>
    <os>Linux</os>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
    <license rdf:resource='https://spdx.org/licenses/MIT'/>
    <license rdf:resource='https://spdx.org/licenses/Apache-2.0'/>
";

const CLOSING: &str = "  </Project>\n</rdf:RDF>\n";

/// The whole file.
pub fn doap(plans: &[Plan]) -> String {
    let mut text = String::from(OPENING);
    for rfc in RFCS {
        let _ = writeln!(text, "    <implements rdf:resource='https://www.rfc-editor.org/info/rfc{rfc}'/>");
    }
    let carried = FLOORS.iter().chain(plans.iter().flat_map(|plan| plan.manifest.xeps));
    for parts in by_number(carried) {
        write_xep(&mut text, &parts);
    }
    text.push_str(CLOSING);
    text
}

/// The specifications in the order of their numbers; one that several modules carry is one entry.
fn by_number<'a>(carried: impl Iterator<Item = &'a Xep>) -> Vec<Vec<&'a Xep>> {
    let mut sorted: Vec<&Xep> = carried.collect();
    sorted.sort_by_key(|xep| xep.number);
    sorted.chunk_by(|one, other| one.number == other.number).map(<[_]>::to_vec).collect()
}

fn write_xep(text: &mut String, parts: &[&Xep]) {
    let Some(first) = parts.first() else { return };
    let status = if parts.iter().all(|part| part.complete) { "complete" } else { "partial" };
    let notes: Vec<&str> = parts.iter().map(|part| part.note).filter(|note| !note.is_empty()).collect();
    let _ = write!(
        text,
        "    <implements>\n      <xmpp:SupportedXep>\n        \
         <xmpp:xep rdf:resource='https://xmpp.org/extensions/xep-{:04}.html'/>\n        \
         <xmpp:status>{status}</xmpp:status>\n        <xmpp:version>{}</xmpp:version>\n",
        first.number,
        escaped(first.version),
    );
    if !notes.is_empty() {
        let _ = writeln!(text, "        <xmpp:note>{}</xmpp:note>", escaped(&notes.join("; ")));
    }
    text.push_str("      </xmpp:SupportedXep>\n    </implements>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_of_two_modules_is_one_entry() {
        let parts =
            [Xep::partial(205, "1.0.1", "one <b>"), Xep::complete(30, "2.5rc3"), Xep::partial(205, "1.0.1", "two")];
        let sorted = by_number(parts.iter());
        assert_eq!(sorted.iter().map(|parts| (parts[0].number, parts.len())).collect::<Vec<_>>(), [(30, 1), (205, 2)]);
        let mut text = String::new();
        write_xep(&mut text, &sorted[1]);
        assert!(text.contains("<xmpp:status>partial</xmpp:status>"), "{text}");
        assert!(text.contains("<xmpp:note>one &lt;b&gt;; two</xmpp:note>"), "{text}");
    }
}
