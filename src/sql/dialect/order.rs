//! The order of the kinds in a dump, before dependencies are considered.

use crate::sql::object::ObjectKind;

/// A place in the order for each kind. Kinds that share a place are sorted together, by name.
#[derive(Debug, PartialEq)]
pub struct KindOrder([u8; ObjectKind::COUNT]);

impl KindOrder {
    /// Creates the order from the kinds of each place.
    ///
    /// # Panics
    /// At compile time, if a kind is missing or listed twice.
    pub(super) const fn new(places: &[&[ObjectKind]]) -> Self {
        let mut order = [0; ObjectKind::COUNT];
        let (mut place, mut listed) = (0, 0);
        while place < places.len() {
            let mut kind = 0;
            while kind < places[place].len() {
                let at = places[place][kind] as usize;
                assert!(order[at] == 0, "a kind is listed twice");
                // The gaps are for kinds that a later major moves.
                order[at] = 2 * (place as u8 + 1);
                listed += 1;
                kind += 1;
            }
            place += 1;
        }
        assert!(listed == ObjectKind::COUNT, "a kind is missing");
        KindOrder(order)
    }

    /// Returns the order with one kind moved behind another.
    pub(super) const fn with_behind(mut self, kind: ObjectKind, other: ObjectKind) -> Self {
        self.0[kind as usize] = self.0[other as usize] + 1;
        self
    }

    /// Returns the place of a kind, from 1.
    pub fn place(&self, kind: ObjectKind) -> u8 {
        self.0[kind as usize]
    }
}
