//! A list of findings with a limit: a report of more than fifty is not useful, so the rest is only counted.

/// The maximum number of findings that are listed; the others are counted.
pub const MOST_TOLD: usize = 50;

/// The first findings, and the number of the others.
#[derive(Debug)]
pub struct CappedList<T> {
    told: Vec<T>,
    more: u64,
}

impl<T> Default for CappedList<T> {
    fn default() -> Self {
        CappedList { told: Vec::new(), more: 0 }
    }
}

impl<T> CappedList<T> {
    /// Adds a finding.
    pub fn tell(&mut self, finding: T) {
        if self.told.len() < MOST_TOLD { self.told.push(finding) } else { self.more += 1 }
    }

    /// Adds the findings of another list.
    pub fn tell_all(&mut self, others: CappedList<T>) {
        others.told.into_iter().for_each(|finding| self.tell(finding));
        self.more += others.more;
    }

    /// Returns whether another finding would still be listed, and is worth investigating.
    pub fn has_room(&self) -> bool {
        self.told.len() < MOST_TOLD
    }

    /// Returns whether there are no findings.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Returns the total number of findings.
    pub fn number(&self) -> u64 {
        self.told.len() as u64 + self.more
    }

    /// Returns the listed findings, in the order in which they were found.
    pub fn first(&self) -> &[T] {
        &self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_told_and_all_are_counted() {
        let mut told = CappedList::default();
        (0..40).for_each(|n| told.tell(n));
        assert!(told.has_room());
        let mut others = CappedList::default();
        (40..100).for_each(|n| others.tell(n));
        told.tell_all(others);
        assert_eq!((told.first().len(), told.number(), told.has_room()), (MOST_TOLD, 100, false));
        assert_eq!(told.first().last(), Some(&49));
    }
}
