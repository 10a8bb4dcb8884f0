//! Errors of the configuration.

/// A setting that is missing, unknown, contradictory or malformed.
#[derive(Debug, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    /// Name of the variable.
    pub variable: String,
    /// What is wrong, as the rest of a sentence that begins with the name.
    pub problem: String,
    /// How to fix it.
    pub hint: String,
    /// Error of the operating system, if any.
    pub source: Option<std::io::Error>,
}

impl ConfigError {
    pub(super) fn new(variable: &str, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        ConfigError {
            variable: variable.to_owned(),
            problem: problem.into(),
            hint: hint.into(),
            source: None,
        }
    }
}
