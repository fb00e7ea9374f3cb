//! Data forms (XEP-0004) as commands use them: forms to fill in, what was filled in, and tables.

use waxwing_xml::{Child, Element, Writer};

use crate::fault::Fault;
use crate::stanza::element;

/// The namespace of data forms.
pub const DATA_FORM: &str = "jabber:x:data";

/// What somebody has filled in. A form that he has put away (`type='cancel'`) counts as an empty one (XEP-0050 §3.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled(Vec<(String, Vec<String>)>);

impl Filled {
    /// Reads a form; what is none of its fields is passed over.
    pub fn read(form: Child<'_>) -> Filled {
        let is = |child: &Child<'_>, name| child.namespace() == DATA_FORM && child.name() == name;
        let fields = form.children().filter(|child| is(child, "field")).filter_map(|field| {
            let values = field.children().filter(|child| is(child, "value")).map(|value| value.text().into_owned());
            Some((field.attribute("var")?.into_owned(), values.collect()))
        });
        Filled(fields.collect())
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.0
            .iter()
            .map(|(name, values)| name.len() + values.iter().map(|value| value.len() + 24).sum::<usize>())
            .sum()
    }

    /// The values of a field; none when the form does not have it.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.iter().find(|(known, _)| known == name).map_or(&[], |(_, values)| values.as_slice())
    }

    /// The first value of a field; `None` when there is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }
}

/// Writes one form.
pub struct FormWriter(Writer);

impl FormWriter {
    /// A form for somebody to fill in.
    pub fn to_fill_in(title: &str, instructions: &str) -> FormWriter {
        FormWriter::of("form", title, instructions)
    }

    /// A form that tells something.
    pub fn result(title: &str) -> FormWriter {
        FormWriter::of("result", title, "")
    }

    fn of(kind: &str, title: &str, instructions: &str) -> FormWriter {
        let mut writer = Writer::new();
        writer.open("x").attribute("xmlns", DATA_FORM).attribute("type", kind);
        for (name, text) in [("title", title), ("instructions", instructions)] {
            if !text.is_empty() {
                writer.open(name).text(text).close();
            }
        }
        FormWriter(writer)
    }

    /// A field of this type (XEP-0004 §3.3) with its values and those to choose from, each with its label.
    pub fn field<'a>(
        &mut self,
        kind: &str,
        name: &str,
        label: &str,
        values: impl IntoIterator<Item = &'a str>,
        options: &[(String, String)],
    ) -> &mut FormWriter {
        self.0.open("field").attribute("var", name).attribute("type", kind).attribute("label", label);
        for value in values {
            self.0.open("value").text(value).close();
        }
        for (value, label) in options {
            self.0.open("option").attribute("label", label).open("value").text(value).close().close();
        }
        self.0.close();
        self
    }

    /// A table: the names and labels of its columns, and the rows with a value for each column.
    pub fn table(&mut self, columns: &[(&str, &str)], rows: &[Vec<String>]) -> &mut FormWriter {
        self.0.open("reported");
        for (name, label) in columns {
            self.0
                .open("field")
                .attribute("var", name)
                .attribute("label", label)
                .attribute("type", "text-single")
                .close();
        }
        self.0.close();
        for row in rows {
            self.0.open("item");
            for ((name, _), value) in columns.iter().zip(row) {
                self.0.open("field").attribute("var", name).open("value").text(value).close().close();
            }
            self.0.close();
        }
        self
    }

    /// The whole form.
    ///
    /// # Errors
    /// A fault when something in it is no text that XML can carry.
    pub fn finish(mut self) -> Result<Element, Fault> {
        self.0.close();
        element(self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_and_what_was_filled_in_is_read() {
        let mut form = FormWriter::to_fill_in("Title", "Do this");
        form.field("list-multi", "which", "Which?", ["a"], &[("a".to_owned(), "A & B".to_owned())]);
        let written = String::from_utf8(form.finish().unwrap().as_bytes().to_vec()).unwrap();
        assert_eq!(
            written,
            "<x xmlns='jabber:x:data' type='form'><title>Title</title><instructions>Do this</instructions>\
             <field var='which' type='list-multi' label='Which?'><value>a</value>\
             <option label='A &amp; B'><value>a</value></option></field></x>"
        );
        let filled = Filled::read(element(written).unwrap().as_child());
        assert_eq!((filled.values("which"), filled.text("other")), (&["a".to_owned()][..], None));
        assert!(filled.size() > 6);
    }

    #[test]
    fn a_table_has_a_value_in_each_column() {
        let mut form = FormWriter::result("");
        form.table(&[("a", "A"), ("b", "B")], &[vec!["1".to_owned(), "2".to_owned()]]);
        let form = form.finish().unwrap();
        let items: Vec<_> = form.children().filter(|child| child.name() == "item").collect();
        assert_eq!(items.len(), 1);
        let values: Vec<String> =
            items[0].children().map(|field| field.children().next().unwrap().text().into_owned()).collect();
        assert_eq!(values, ["1", "2"]);
    }
}
