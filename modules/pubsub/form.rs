//! Data forms (XEP-0004) as nodes use them: what somebody has filled in, and forms that tell or ask.

use waxwing_core::refusal::Refusal;
use waxwing_core::xml::{Child, Writer};

use crate::protocol::FORM;

/// A form that somebody has filled in, or put away.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Put away without an answer.
    pub is_cancelled: bool,
    /// Its fields with their values, without the type of the form.
    pub fields: Vec<(String, Vec<String>)>,
}

impl Filled {
    /// Reads the form inside an element; `None` when there is none.
    ///
    /// # Errors
    /// `bad-request` when it is another form than `form_type`, or no answer to one.
    pub fn inside(parent: Child<'_>, form_type: &str) -> Result<Option<Filled>, Refusal> {
        parent.child(FORM, "x").map(|form| Filled::read(form, form_type)).transpose()
    }

    /// Reads a form.
    ///
    /// # Errors
    /// `bad-request` when it is another form than `form_type`, or no answer to one.
    pub fn read(form: Child<'_>, form_type: &str) -> Result<Filled, Refusal> {
        let is_cancelled = match form.attribute("type").as_deref() {
            Some("submit") => false,
            Some("cancel") => true,
            _ => return Err(Refusal::bad_request().saying("a form is submitted or cancelled")),
        };
        let mut fields = Vec::new();
        for field in form.children().filter(|child| child.namespace() == FORM && child.name() == "field") {
            let Some(name) = field.attribute("var") else { continue };
            let values = field.children().filter(|child| child.namespace() == FORM && child.name() == "value");
            let values: Vec<String> = values.map(|value| value.text().into_owned()).collect();
            if name != "FORM_TYPE" {
                fields.push((name.into_owned(), values));
            } else if values.first().is_some_and(|stated| stated != form_type) {
                return Err(Refusal::bad_request().saying(format!("the form is not of type {form_type}")));
            }
        }
        Ok(Filled { is_cancelled, fields })
    }

    /// The first value of a field.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, values) = self.fields.iter().find(|(known, _)| known == name)?;
        values.first().map(String::as_str)
    }
}

/// Reads a yes or no.
///
/// # Errors
/// `not-acceptable`.
pub fn boolean(name: &str, value: &str) -> Result<bool, Refusal> {
    match value.trim() {
        "1" | "true" => Ok(true),
        "0" | "false" | "" => Ok(false),
        _ => Err(not_acceptable(name)),
    }
}

/// A value that a field cannot have.
pub fn not_acceptable(name: &str) -> Refusal {
    Refusal::not_acceptable().saying(format!("the value of {name} is not one that it may have"))
}

/// What a form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody is to fill it in.
    Asks,
    /// It tells something.
    Tells,
}

/// Writes a form.
pub struct FormWriter<'a> {
    writer: &'a mut Writer,
    purpose: Purpose,
}

impl<'a> FormWriter<'a> {
    /// Opens a form of this type.
    pub fn open(writer: &'a mut Writer, purpose: Purpose, form_type: &str) -> FormWriter<'a> {
        let kind = if purpose == Purpose::Asks { "form" } else { "result" };
        writer.open("x").attribute("xmlns", FORM).attribute("type", kind);
        writer.open("field").attribute("var", "FORM_TYPE").attribute("type", "hidden");
        writer.open("value").text(form_type).close().close();
        FormWriter { writer, purpose }
    }

    /// A field with its values and those it may have; kind and label only where somebody is to fill it in.
    pub fn field(&mut self, kind: &str, name: &str, label: &str, values: &[&str], options: &[&str]) {
        self.writer.open("field").attribute("var", name);
        if self.purpose == Purpose::Asks {
            self.writer.attribute("type", kind).attribute("label", label);
        }
        for value in values {
            self.writer.open("value").text(value).close();
        }
        if self.purpose == Purpose::Asks {
            for option in options {
                self.writer.open("option").open("value").text(option).close().close();
            }
        }
        self.writer.close();
    }

    /// Closes the form.
    pub fn close(self) {
        self.writer.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn read(form: &str) -> Result<Option<Filled>, &'static str> {
        let parent = element(format!("<configure>{form}</configure>")).unwrap();
        Filled::inside(parent.as_child(), "t").map_err(|refusal| refusal.condition.name())
    }

    #[test]
    fn a_form_is_read_with_its_values() {
        assert_eq!(read(""), Ok(None));
        let filled = read(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>t</value></field>\
             <field var='a'><value>1</value><value>2</value></field><field var='b'/><field><value>3</value></field></x>",
        );
        let fields = vec![("a".to_owned(), vec!["1".to_owned(), "2".to_owned()]), ("b".to_owned(), vec![])];
        assert_eq!(filled, Ok(Some(Filled { is_cancelled: false, fields })));
        let other = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>u</value></field></x>";
        assert_eq!(read(other), Err("bad-request"));
        assert_eq!(read("<x xmlns='jabber:x:data' type='form'/>"), Err("bad-request"));
        assert!(read("<x xmlns='jabber:x:data' type='cancel'/>").unwrap().unwrap().is_cancelled);
    }
}
