//! Typed notes: what one module or stage tells a later one about a parcel or a session, by type and not by name.

use std::any::Any;

/// A fact that can be noted. A type notes one kind of fact, and its module owns the type.
///
/// A note about a session may outlive the process together with its session, when that is resumed after a restart of the
/// server: such a type has a name, and writes and reads itself.
pub trait Note: Any + Send + Sync {
    /// The name it is written down under; none for a note that ends with the process.
    const WRITTEN_AS: Option<&'static str> = None;

    /// What is written down. Text that XML could carry.
    fn write_down(&self) -> String {
        String::new()
    }

    /// Reads what [`Note::write_down`] has written, perhaps in an older version; `None` when it cannot.
    fn read_back(written: &str) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = written;
        None
    }
}

/// A small set of notes, at most one of each type. Costs nothing while it is empty.
#[derive(Default)]
pub struct Notes(Vec<Box<dyn AnyNote>>);

/// Gives a boxed note its `Any` face.
trait AnyNote: Send + Sync {
    fn any(&self) -> &dyn Any;
    fn any_mut(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    fn written(&self) -> Option<(&'static str, String)>;
}

impl<N: Note> AnyNote for N {
    fn any(&self) -> &dyn Any {
        self
    }
    fn any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
    fn written(&self) -> Option<(&'static str, String)> {
        N::WRITTEN_AS.map(|name| (name, self.write_down()))
    }
}

/// Notes as they were written down, by name, until somebody asks for them.
#[derive(Default)]
struct Written(Vec<(String, String)>);
impl Note for Written {}

impl Notes {
    /// Writes a note down, in place of an older one of its type.
    pub fn put<N: Note>(&mut self, note: N) {
        match self.get_mut::<N>() {
            Some(older) => *older = note,
            None => self.0.push(Box::new(note)),
        }
    }

    /// The note of this type.
    pub fn get<N: Note>(&self) -> Option<&N> {
        self.0.iter().find_map(|note| (**note).any().downcast_ref())
    }

    /// The note of this type, to change it.
    pub fn get_mut<N: Note>(&mut self) -> Option<&mut N> {
        self.0.iter_mut().find_map(|note| (**note).any_mut().downcast_mut())
    }

    /// The note of this type, also one that was only written down until now.
    pub fn find<N: Note>(&mut self) -> Option<&mut N> {
        let position = self.position::<N>()?;
        (*self.0[position]).any_mut().downcast_mut()
    }

    /// The note of this type, made first when there is none.
    pub fn entry<N: Note + Default>(&mut self) -> &mut N {
        let position = self.position::<N>().unwrap_or_else(|| {
            self.0.push(Box::new(N::default()));
            self.0.len() - 1
        });
        let note = (*self.0[position]).any_mut();
        note.downcast_mut().expect("the note at this position is of this type")
    }

    /// Takes the note of this type away.
    pub fn take<N: Note>(&mut self) -> Option<N> {
        let position = self.position::<N>()?;
        let note = self.0.swap_remove(position);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        note.into_any().downcast().ok().map(|note| *note)
    }

    /// Where the note of this type is, after reading it back if it was written down.
    fn position<N: Note>(&mut self) -> Option<usize> {
        if let Some(position) = self.0.iter().position(|note| (**note).any().is::<N>()) {
            return Some(position);
        }
        let name = N::WRITTEN_AS?;
        let written = &mut self.get_mut::<Written>()?.0;
        let (_, text) = written.swap_remove(written.iter().position(|(of, _)| of == name)?);
        self.0.push(Box::new(N::read_back(&text)?));
        Some(self.0.len() - 1)
    }

    /// Every note that has a name, written down.
    pub fn write_down(&self) -> Vec<(String, String)> {
        let not_asked_for = self.get::<Written>().map(|written| written.0.clone()).unwrap_or_default();
        let written = self.0.iter().filter_map(|note| (**note).written());
        written.map(|(name, text)| (name.to_owned(), text)).chain(not_asked_for).collect()
    }

    /// Notes that were written down; each is read when it is asked for.
    pub fn written(notes: Vec<(String, String)>) -> Notes {
        if notes.is_empty() { Notes::default() } else { Notes(vec![Box::new(Written(notes))]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Count(u32);
    impl Note for Count {}
    #[derive(Debug, PartialEq)]
    struct Word(&'static str);
    impl Note for Word {}
    #[derive(Debug, Default, PartialEq)]
    struct Lasting(u8);
    impl Note for Lasting {
        const WRITTEN_AS: Option<&'static str> = Some("lasting");
        fn write_down(&self) -> String {
            self.0.to_string()
        }
        fn read_back(written: &str) -> Option<Lasting> {
            written.parse().ok().map(Lasting)
        }
    }

    #[test]
    fn one_note_of_each_type() {
        let mut notes = Notes::default();
        notes.put(Count(1));
        notes.put(Word("a"));
        notes.put(Count(2));
        notes.entry::<Count>().0 += 1;
        assert_eq!(notes.get::<Count>(), Some(&Count(3)));
        assert_eq!(notes.take::<Word>(), Some(Word("a")));
        assert_eq!(notes.get::<Word>(), None);
    }

    #[test]
    fn a_note_with_a_name_is_written_down_and_read_back_when_it_is_asked_for() {
        let mut notes = Notes::default();
        notes.put(Count(1));
        notes.put(Lasting(7));
        let written = notes.write_down();
        assert_eq!(written, [("lasting".to_owned(), "7".to_owned())]);
        let mut later = Notes::written(written.clone());
        assert_eq!(later.write_down(), written, "nobody has asked for it, and it is still there");
        assert_eq!(later.find::<Count>(), None);
        later.entry::<Lasting>().0 += 1;
        assert_eq!(later.write_down(), [("lasting".to_owned(), "8".to_owned())]);
        assert_eq!(later.take::<Lasting>(), Some(Lasting(8)));
        assert!(later.write_down().is_empty());
        let mut unreadable = Notes::written(vec![("lasting".to_owned(), "x".to_owned())]);
        assert_eq!(unreadable.entry::<Lasting>(), &Lasting(0));
    }
}
