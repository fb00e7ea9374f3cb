//! Typed notes: what one module or stage tells a later one about a parcel or a session, by type and not by name.

use std::any::Any;

/// A fact that can be noted. A type notes one kind of fact, and its module owns the type.
pub trait Note: Any + Send + Sync {}

/// A small set of notes, at most one of each type. Costs nothing while it is empty.
#[derive(Default)]
pub struct Notes(Vec<Box<dyn AnyNote>>);

/// Gives a boxed note its `Any` face.
trait AnyNote: Send + Sync {
    fn any(&self) -> &dyn Any;
    fn any_mut(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
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
}

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

    /// The note of this type, made first when there is none.
    pub fn entry<N: Note + Default>(&mut self) -> &mut N {
        let position = self.0.iter().position(|note| (**note).any().is::<N>()).unwrap_or_else(|| {
            self.0.push(Box::new(N::default()));
            self.0.len() - 1
        });
        let note = (*self.0[position]).any_mut();
        note.downcast_mut().expect("the note at this position is of this type")
    }

    /// Takes the note of this type away.
    pub fn take<N: Note>(&mut self) -> Option<N> {
        let position = self.0.iter().position(|note| (**note).any().is::<N>())?;
        let note = self.0.swap_remove(position);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        note.into_any().downcast().ok().map(|note| *note)
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
}
