//! Reading data forms (XEP-0004): an empty value is none.

use waxwing_core::forms::{DATA_FORM, Filled};
use waxwing_core::xml::Child;

/// The first form inside an element.
pub fn inside(parent: Child<'_>) -> Option<Filled> {
    parent.child(DATA_FORM, "x").map(Filled::read)
}

/// The value of a field; `None` when it is missing or empty.
pub fn text<'a>(form: &'a Filled, name: &str) -> Option<&'a str> {
    form.text(name).map(str::trim).filter(|value| !value.is_empty())
}

/// The value of the first of these fields that has one.
pub fn first_of<'a>(form: &'a Filled, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| text(form, name))
}

/// Whether the form is of this type.
pub fn is_of(form: &Filled, form_type: &str) -> bool {
    text(form, "FORM_TYPE") == Some(form_type)
}
