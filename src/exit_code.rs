//! The exit codes of the program. On the ground floor, so that a round can say which one a failure means.

/// The exit codes, as the manual lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All went well.
    Ok = 0,
    /// Anything that has no code of its own.
    Other = 1,
    /// Usage or configuration.
    Usage = 2,
    /// A database cannot be reached.
    Connect = 3,
    /// A dump failed.
    Dump = 4,
    /// The store failed.
    Store = 5,
    /// Something is not as it should be.
    Difference = 6,
    /// Some of several databases failed.
    SomeFailed = 7,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}
