//! The sections of a dump, and their selection with `--section`.

use serde::{Deserialize, Serialize};

/// The three sections of a dump, and `None` for entries that belong to the section of their object (comments,
/// privileges). See pg_dump's `--section`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Belongs to the section of its object.
    None,
    /// Before the data: types, functions, tables.
    PreData,
    /// Rows, large objects, sequence values.
    Data,
    /// After the data: indexes, constraints, triggers.
    PostData,
}

/// The selected sections; all three by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections {
    /// Definitions needed before data.
    pub pre_data: bool,
    /// Rows, large objects, sequence values.
    pub data: bool,
    /// Indexes, constraints, triggers and the like.
    pub post_data: bool,
}

impl Default for Sections {
    fn default() -> Self {
        Sections { pre_data: true, data: true, post_data: true }
    }
}

impl Sections {
    /// Returns the sections named with `--section`, or all if none is named. Returns an unknown name as the
    /// error.
    pub fn named(names: &[String]) -> Result<Sections, &str> {
        if names.is_empty() {
            return Ok(Sections::default());
        }
        let mut sections = Sections { pre_data: false, data: false, post_data: false };
        for name in names {
            match name.as_str() {
                "pre-data" => sections.pre_data = true,
                "data" => sections.data = true,
                "post-data" => sections.post_data = true,
                unknown => return Err(unknown),
            }
        }
        Ok(sections)
    }

    /// Returns whether `section` is selected. The caller decides about [`Section::None`].
    pub fn wants(self, section: Section) -> bool {
        match section {
            Section::None => true,
            Section::PreData => self.pre_data,
            Section::Data => self.data,
            Section::PostData => self.post_data,
        }
    }

    /// Returns whether any section is not selected.
    pub fn is_partial(self) -> bool {
        self != Sections::default()
    }
}
