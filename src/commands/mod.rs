//! The verbs, one file each; every verb reads as a recipe of named steps.

pub mod check;
pub mod completions;
pub mod drill;
pub mod dump;
pub mod dumpall;
mod identity;
pub mod lifecycle;
pub mod list;
pub mod man;
pub mod restore;
pub mod run;
pub mod selection;
pub mod serve;
pub mod status;
mod table;
pub mod verify;
pub mod version;

use crate::error::{Error, chain};
use crate::restore::choose::ChooseError;

/// What it means for a verb that there is no backup to work on.
fn not_chosen(error: ChooseError) -> Error {
    match error {
        ChooseError::Store(error) => error.into(),
        error @ ChooseError::NotAKey { .. } => {
            let told = chain(&error);
            Error::Usage { message: told.line, hint: told.hints.into_iter().next() }
        }
        error @ ChooseError::None { .. } => Error::Difference(error.to_string()),
    }
}
