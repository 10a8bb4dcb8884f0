//! Texts that many objects have in common (type names, access methods), each stored once.

use std::collections::HashSet;
use std::sync::Arc;

/// A set of texts that returns shared references.
#[derive(Debug, Default)]
pub(super) struct SharedTexts(HashSet<Arc<str>>);

impl SharedTexts {
    /// Returns the only copy of this text.
    pub(super) fn share(&mut self, text: String) -> Arc<str> {
        if let Some(shared) = self.0.get(text.as_str()) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        self.0.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut texts = SharedTexts::default();
        let [a, b, c] = ["x", "y", "x"].map(|text| texts.share(text.to_owned()));
        assert!(Arc::ptr_eq(&a, &c) && !Arc::ptr_eq(&a, &b));
    }
}
