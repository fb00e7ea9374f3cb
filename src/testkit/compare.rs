//! Compares what came with what a template expects: trees, not texts.

use crate::template::{MORE, MORE_ATTRIBUTES, Part, UNORDERED, parts, take_flag};
use crate::tree::Element;

/// What wildcards with a name have caught.
pub(crate) type Captures = Vec<(String, String)>;

/// Compares an element with a pattern. Gives what was captured.
///
/// # Errors
/// The first difference, and where it is.
pub(crate) fn compare(pattern: &Element, actual: &Element) -> Result<Captures, String> {
    let mut captures = Captures::new();
    element(pattern, actual, &format!("<{}>", pattern.name), &mut captures)?;
    Ok(captures)
}

fn element(pattern: &Element, actual: &Element, place: &str, captures: &mut Captures) -> Result<(), String> {
    if (&pattern.namespace, &pattern.name) != (&actual.namespace, &actual.name) {
        let written = |element: &Element| format!("<{} xmlns='{}'>", element.name, element.namespace);
        return Err(format!("at {place}: expected {}, found {}", written(pattern), written(actual)));
    }
    attributes(pattern, actual, place, captures)?;
    children(pattern, actual, place, captures)
}

fn attributes(pattern: &Element, actual: &Element, place: &str, captures: &mut Captures) -> Result<(), String> {
    let is_flag = |name: &str| name == MORE_ATTRIBUTES;
    for ((namespace, name), expected) in pattern.attributes.iter().filter(|((_, name), _)| !is_flag(name)) {
        match actual.attributes.get(&(namespace.clone(), name.clone())) {
            None => return Err(format!("at {place}: the attribute {name} is missing")),
            Some(found) => text(expected, found, &format!("{place} attribute {name}"), captures)?,
        }
    }
    let more = pattern.attributes.keys().any(|(_, name)| is_flag(name));
    match actual.attributes.iter().find(|(key, _)| !pattern.attributes.contains_key(*key)) {
        Some(((_, name), value)) if !more => Err(format!("at {place}: unexpected attribute {name}='{value}'")),
        _ => Ok(()),
    }
}

fn children(pattern: &Element, actual: &Element, place: &str, captures: &mut Captures) -> Result<(), String> {
    let mut expected_text = pattern.text();
    let more = take_flag(&mut expected_text, MORE);
    let unordered = take_flag(&mut expected_text, UNORDERED);
    let expected: Vec<&Element> = pattern.elements().collect();
    let found: Vec<&Element> = actual.elements().collect();
    let found_text = actual.text();
    if !(expected.is_empty() && found.is_empty()) || more || unordered {
        // Between elements whitespace means nothing.
        let (expected_text, found_text) = (expected_text.trim(), found_text.trim());
        if !(more && expected_text.is_empty()) {
            text(expected_text, found_text, &format!("{place} text"), captures)?;
        }
    } else {
        text(&expected_text, &found_text, &format!("{place} text"), captures)?;
    }
    if !more && expected.len() != found.len() {
        let names = |list: &[&Element]| list.iter().map(|child| child.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("at {place}: expected children [{}], found [{}]", names(&expected), names(&found)));
    }
    if unordered {
        any_order(&expected, &found, place, captures)
    } else {
        in_order(&expected, &found, more, place, captures)
    }
}

fn inside(place: &str, child: &Element) -> String {
    format!("{place}<{}>", child.name)
}

fn in_order(
    expected: &[&Element],
    found: &[&Element],
    more: bool,
    place: &str,
    captures: &mut Captures,
) -> Result<(), String> {
    let mut found = found.iter();
    for pattern in expected {
        let place = inside(place, pattern);
        let mut problem = None;
        loop {
            let Some(candidate) = found.next() else {
                return Err(problem.unwrap_or_else(|| format!("at {place}: it is missing")));
            };
            match attempt(pattern, candidate, &place, captures) {
                Ok(()) => break,
                Err(why) if !more => return Err(why),
                // Of several candidates the one that is nearest explains best.
                Err(why) if candidate.name == pattern.name => problem = Some(why),
                Err(_) => {}
            }
        }
    }
    Ok(())
}

fn any_order(expected: &[&Element], found: &[&Element], place: &str, captures: &mut Captures) -> Result<(), String> {
    let mut left: Vec<&Element> = found.to_vec();
    for pattern in expected {
        let place = inside(place, pattern);
        let position = left.iter().position(|candidate| attempt(pattern, candidate, &place, captures).is_ok());
        match position {
            Some(position) => drop(left.remove(position)),
            None => return Err(format!("at {place}: none fits {}", crate::template::shown(pattern))),
        }
    }
    Ok(())
}

/// Captures nothing when it does not fit.
fn attempt(pattern: &Element, actual: &Element, place: &str, captures: &mut Captures) -> Result<(), String> {
    let before = captures.len();
    let result = element(pattern, actual, place, captures);
    if result.is_err() {
        captures.truncate(before);
    }
    result
}

fn text(expected: &str, found: &str, place: &str, captures: &mut Captures) -> Result<(), String> {
    let parts = parts(expected);
    if fits(&parts, found, captures) {
        return Ok(());
    }
    let expected: String = parts
        .iter()
        .map(|part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Any(None) => "{any}".to_owned(),
            Part::Any(Some(name)) => format!("{{capture:{name}}}"),
        })
        .collect();
    Err(format!("at {place}: expected \"{expected}\", found \"{found}\""))
}

/// Each wildcard takes as little as it can.
fn fits(parts: &[Part], text: &str, captures: &mut Captures) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((Part::Literal(literal), rest)) => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| fits(rest, text, captures))
        }
        Some((Part::Any(name), rest)) => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            // Usually a wildcard is the last part and takes everything.
            let ends: Vec<usize> = if rest.is_empty() { vec![text.len()] } else { ends.collect() };
            ends.into_iter().any(|end| {
                let before = captures.len();
                captures.extend(name.iter().map(|name| (name.clone(), text[..end].to_owned())));
                let fits = fits(rest, &text[end..], captures);
                if !fits {
                    captures.truncate(before);
                }
                fits
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::template;

    fn compared(template: &str, actual: &str) -> Result<Captures, String> {
        let pattern = template::pattern(template, &Names::default()).unwrap();
        compare(&pattern, &Element::parse(actual).unwrap())
    }

    #[test]
    fn order_of_attributes_prefixes_and_whitespace_do_not_matter() {
        let actual = "<iq id='1' type='result'>\n <q:query xmlns:q='urn:q'> <q:item b='2' a='1'/>\n</q:query></iq>";
        compared("<iq type='result' id='1'><query xmlns='urn:q'><item a='1' b='2'/></query></iq>", actual).unwrap();
    }

    #[test]
    fn every_difference_is_found() {
        let actual = "<message id='1' type='chat'><body>hi</body><x xmlns='urn:x'/></message>";
        for template in [
            "<iq id='1' type='chat'><body>hi</body><x xmlns='urn:x'/></iq>",
            "<message xmlns='jabber:server' id='1' type='chat'><body>hi</body><x xmlns='urn:x'/></message>",
            "<message id='1'><body>hi</body><x xmlns='urn:x'/></message>",
            "<message id='2' type='chat'><body>hi</body><x xmlns='urn:x'/></message>",
            "<message id='1' type='chat' to='a'><body>hi</body><x xmlns='urn:x'/></message>",
            "<message id='1' type='chat'><body>hi </body><x xmlns='urn:x'/></message>",
            "<message id='1' type='chat'><body/><x xmlns='urn:x'/></message>",
            "<message id='1' type='chat'><body>hi</body><x xmlns='urn:y'/></message>",
            "<message id='1' type='chat'><body>hi</body></message>",
            "<message id='1' type='chat'><x xmlns='urn:x'/><body>hi</body></message>",
            "<message id='1' type='chat'><body>hi</body><x xmlns='urn:x'/><y/></message>",
            "<message id='1' type='chat'><body>hi</body><x xmlns='urn:x'>z</x></message>",
            "<message id='1' type='chat'>{…}<y/></message>",
            "<message id='1' type='chat'>{unordered}<y/><body>hi</body></message>",
        ] {
            assert!(compared(template, actual).is_err(), "{template}");
        }
    }

    #[test]
    fn wildcards_take_what_they_may() {
        let actual = "<message id='ab-12' to='x@y/z'><body>hi</body><x xmlns='urn:x' v='1'/></message>";
        for template in [
            "<message id='{any}' to='x@y/{any}'><body>{any}</body><x xmlns='urn:x' v='1'/></message>",
            "<message {…}><body>hi</body>{…}</message>",
            "<message id='ab-12' {…}>{…}</message>",
            "<message {…}>{unordered}<x xmlns='urn:x' {…}/><body>hi</body></message>",
            "<message {…}>{…}<x xmlns='urn:x' v='1'/></message>",
        ] {
            compared(template, actual).unwrap();
        }
        let captures = compared("<message id='{capture:word}-{capture:number}' {…}>{…}</message>", actual).unwrap();
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(captures, [pair("word", "ab"), pair("number", "12")]);
    }

    #[test]
    fn a_difference_is_explained() {
        let problem = compared("<iq id='1'><a xmlns='urn:a'>b</a></iq>", "<iq id='1'><a xmlns='urn:a'>c</a></iq>");
        assert_eq!(problem.unwrap_err(), "at <iq><a> text: expected \"b\", found \"c\"");
    }
}
