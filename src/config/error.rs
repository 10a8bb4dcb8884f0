//! Why the configuration is refused.

/// A setting that is missing, unknown, contradictory or malformed.
#[derive(Debug, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    /// The variable to look at.
    pub variable: String,
    /// What is wrong with it, as the rest of a sentence that begins with its name.
    pub problem: String,
    /// The way out.
    pub hint: String,
    /// Why the system refused, where it did.
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
