//! Data forms (XEP-0004): what somebody has filled in, and forms to be filled in.

use waxwing_core::refusal::Refusal;
use waxwing_core::xml::{Child, Writer};

use crate::protocol::FORM;

/// What became of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormType {
    /// It is filled in.
    Submit,
    /// It was put away.
    Cancel,
}

/// A form that somebody sends back.
#[derive(Debug)]
pub struct Form {
    /// What became of it.
    pub kind: FormType,
    fields: Vec<(String, Vec<String>)>,
}

impl Form {
    /// The form inside an element, if there is one.
    ///
    /// # Errors
    /// `bad-request` when it is no answer to a form.
    pub fn inside(parent: Child<'_>) -> Result<Option<Form>, Refusal> {
        parent.child(FORM, "x").map(Form::read).transpose()
    }

    /// Reads a form that was sent back.
    ///
    /// # Errors
    /// `bad-request` when it is no answer to a form.
    pub fn read(form: Child<'_>) -> Result<Form, Refusal> {
        let kind = match form.attribute("type").as_deref() {
            Some("submit") => FormType::Submit,
            Some("cancel") => FormType::Cancel,
            _ => return Err(Refusal::bad_request().saying("a form is submitted or cancelled")),
        };
        let fields = form.children().filter(|child| child.namespace() == FORM && child.name() == "field");
        let fields = fields.filter_map(|field| {
            let values = field.children().filter(|child| child.namespace() == FORM && child.name() == "value");
            Some((field.attribute("var")?.into_owned(), values.map(|value| value.text().into_owned()).collect()))
        });
        Ok(Form { kind, fields: fields.collect() })
    }

    /// Whether nothing stands in it but perhaps its type.
    pub fn is_empty(&self) -> bool {
        self.fields.iter().all(|(name, _)| name == "FORM_TYPE")
    }

    /// Whether it is of this type, or of none.
    pub fn is_of(&self, form_type: &str) -> bool {
        self.text("FORM_TYPE").is_none_or(|stated| stated == form_type)
    }

    /// The values of a field; `None` when the form does not have it.
    pub fn values(&self, name: &str) -> Option<&[String]> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, values)| values.as_slice())
    }

    /// The first value of a field, empty when it has none; `None` when the form does not have the field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values(name).map(|values| values.first().map_or("", String::as_str))
    }

    /// A field that says yes or no.
    ///
    /// # Errors
    /// `not-acceptable` when it says something else.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name) {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false" | "") => Ok(Some(false)),
            Some(_) => Err(not_acceptable(name)),
        }
    }

    /// A field that holds a whole number.
    ///
    /// # Errors
    /// `not-acceptable` when it holds something else.
    pub fn number(&self, name: &str) -> Result<Option<u32>, Refusal> {
        match self.text(name) {
            None | Some("") => Ok(None),
            Some(text) => text.trim().parse().map(Some).map_err(|_| not_acceptable(name)),
        }
    }
}

/// A value of a field that cannot be.
pub fn not_acceptable(name: &str) -> Refusal {
    Refusal::not_acceptable().saying(format!("the value of {name} is not one that it may have"))
}

/// Writes the fields of a form.
pub struct FormWriter<'a> {
    writer: &'a mut Writer,
    /// A result has values only, no choices.
    is_result: bool,
}

impl<'a> FormWriter<'a> {
    /// Opens `<x/>` for somebody to fill in.
    pub fn form(writer: &'a mut Writer, form_type: &str, title: &str, instructions: &str) -> FormWriter<'a> {
        writer.open("x").attribute("xmlns", FORM).attribute("type", "form");
        for (name, text) in [("title", title), ("instructions", instructions)] {
            if !text.is_empty() {
                writer.open(name).text(text).close();
            }
        }
        let mut form = FormWriter { writer, is_result: false };
        form.form_type(form_type);
        form
    }

    /// Opens `<x/>` that tells something.
    pub fn result(writer: &'a mut Writer, form_type: &str) -> FormWriter<'a> {
        writer.open("x").attribute("xmlns", FORM).attribute("type", "result");
        let mut form = FormWriter { writer, is_result: true };
        form.form_type(form_type);
        form
    }

    fn form_type(&mut self, form_type: &str) {
        self.writer.open("field").attribute("var", "FORM_TYPE").attribute("type", "hidden");
        self.writer.open("value").text(form_type).close().close();
    }

    /// A field with its values.
    pub fn field<'v>(&mut self, kind: &str, name: &str, label: &str, values: impl IntoIterator<Item = &'v str>) {
        self.choice(kind, name, label, values, &[]);
    }

    /// A field that says yes or no.
    pub fn boolean(&mut self, name: &str, label: &str, value: bool) {
        self.field("boolean", name, label, [if value { "1" } else { "0" }]);
    }

    /// A field with its values and those it may have: each the value and its label.
    pub fn choice<'v>(
        &mut self,
        kind: &str,
        name: &str,
        label: &str,
        values: impl IntoIterator<Item = &'v str>,
        options: &[(&str, &str)],
    ) {
        self.writer.open("field").attribute("var", name).attribute("type", kind).attribute("label", label);
        for value in values {
            self.writer.open("value").text(value).close();
        }
        for (value, label) in options.iter().filter(|_| !self.is_result) {
            self.writer.open("option").attribute("label", label).open("value").text(value).close().close();
        }
        self.writer.close();
    }

    /// A field that must be filled in.
    pub fn required(&mut self, kind: &str, name: &str, label: &str) {
        self.writer.open("field").attribute("var", name).attribute("type", kind).attribute("label", label);
        self.writer.open("required").close().close();
    }

    /// The writer, for a field that needs more; what is opened there must be closed there.
    pub fn writer(&mut self) -> &mut Writer {
        self.writer
    }

    /// Closes `<x/>`.
    pub fn close(self) {
        self.writer.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn read(form: &str) -> Result<Form, &'static str> {
        let form = element(form.to_owned()).unwrap();
        Form::read(form.as_child()).map_err(|refusal| refusal.condition.name())
    }

    #[test]
    fn a_form_is_read_with_all_its_values() {
        let form = read(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>t</value></field>\
             <field var='a'><value>1</value><value>2</value></field><field var='b'/><field><value>3</value></field>\
             <field var='yes'><value>true</value></field><field var='n'><value> 7 </value></field></x>",
        )
        .unwrap();
        assert_eq!(form.values("a").unwrap(), ["1", "2"]);
        assert_eq!((form.text("b"), form.text("c")), (Some(""), None));
        assert_eq!(
            (form.boolean("yes"), form.boolean("b"), form.boolean("c")),
            (Ok(Some(true)), Ok(Some(false)), Ok(None))
        );
        assert_eq!((form.number("n"), form.number("b")), (Ok(Some(7)), Ok(None)));
        assert!(form.boolean("n").is_err() && form.number("yes").is_err());
        assert!(form.is_of("t") && !form.is_of("u") && !form.is_empty());
    }

    #[test]
    fn only_answers_to_forms_are_read() {
        for kind in ["form", "result", ""] {
            assert_eq!(read(&format!("<x xmlns='jabber:x:data' type='{kind}'/>")).unwrap_err(), "bad-request");
        }
        assert_eq!(read("<x xmlns='jabber:x:data' type='cancel'/>").unwrap().kind, FormType::Cancel);
        assert!(read("<x xmlns='jabber:x:data' type='submit'/>").unwrap().is_empty());
    }
}
