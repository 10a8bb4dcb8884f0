//! The exit codes of the program. This module is on the ground floor so that every module can name an exit
//! code.

/// The exit codes, as the manual lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Success.
    Ok = 0,
    /// An error without a code of its own.
    Other = 1,
    /// Usage or configuration error.
    Usage = 2,
    /// A database cannot be reached.
    Connect = 3,
    /// A dump failed.
    Dump = 4,
    /// The store failed.
    Store = 5,
    /// A check found a difference.
    Difference = 6,
    /// Some of several databases failed.
    SomeFailed = 7,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}
