//! A list of findings with a limit: a report of more than fifty is not useful, so the rest is only counted.

/// The maximum number of findings that are listed; the others are counted.
pub const MAX_LISTED: usize = 50;

/// The first findings, and the number of the others.
#[derive(Debug)]
pub struct CappedList<T> {
    listed: Vec<T>,
    more: u64,
}

impl<T> Default for CappedList<T> {
    fn default() -> Self {
        CappedList { listed: Vec::new(), more: 0 }
    }
}

impl<T> CappedList<T> {
    /// Adds a finding.
    pub fn push(&mut self, finding: T) {
        if self.listed.len() < MAX_LISTED { self.listed.push(finding) } else { self.more += 1 }
    }

    /// Adds the findings of another list.
    pub fn append(&mut self, others: CappedList<T>) {
        others.listed.into_iter().for_each(|finding| self.push(finding));
        self.more += others.more;
    }

    /// Returns whether another finding would still be listed, and is worth investigating.
    pub fn has_room(&self) -> bool {
        self.listed.len() < MAX_LISTED
    }

    /// Returns whether there are no findings.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Returns the total number of findings.
    pub fn number(&self) -> u64 {
        self.listed.len() as u64 + self.more
    }

    /// Returns the listed findings, in the order in which they were found.
    pub fn first(&self) -> &[T] {
        &self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_listed_and_all_are_counted() {
        let mut listed = CappedList::default();
        (0..40).for_each(|n| listed.push(n));
        assert!(listed.has_room());
        let mut others = CappedList::default();
        (40..100).for_each(|n| others.push(n));
        listed.append(others);
        assert_eq!((listed.first().len(), listed.number(), listed.has_room()), (MAX_LISTED, 100, false));
        assert_eq!(listed.first().last(), Some(&49));
    }
}
