//! The compression setting of a dump, as users, the manifest and the object's name spell it.
//! `pipeline::compress` performs the compression.

use std::fmt;
use std::str::FromStr;

/// The compression of a dump object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Uncompressed text, `.sql`.
    None,
    /// A series of gzip members, `.sql.gz`.
    Gzip {
        /// libdeflate's level, 1 to 12.
        level: u8,
    },
    /// A series of zstd frames and a seek table, `.sql.zst`.
    Zstd {
        /// zstd's level, 1 to 19.
        level: u8,
    },
}

impl Compression {
    /// The lowest level of libdeflate whose output is never larger than that of `gzip -6` for the same dump;
    /// docs/archive-format.md has the measurements.
    pub const DEFAULT_GZIP: Compression = Compression::Gzip { level: 5 };
    /// zstd's default.
    pub const DEFAULT_ZSTD: Compression = Compression::Zstd { level: 3 };
}

impl Default for Compression {
    fn default() -> Self {
        Compression::DEFAULT_GZIP
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Gzip { level } => write!(f, "gzip:{level}"),
            Compression::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

/// An error in a compression setting.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// None of the three names.
    #[error("unknown compression \"{0}\"\nHINT: use gzip, zstd or none, with a level as in gzip:6")]
    Unknown(String),
    /// A level outside the method's range.
    #[error("{method} has levels {min} to {max}, not \"{level}\"")]
    Level {
        /// gzip or zstd.
        method: &'static str,
        /// The given level.
        level: String,
        /// The lowest level.
        min: u8,
        /// The highest level.
        max: u8,
    },
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (method, level) = match text.split_once(':') {
            Some((method, level)) => (method, Some(level)),
            None => (text, None),
        };
        let parse = |method: &'static str, default: Compression, max: u8| match level {
            None => Ok(default),
            Some(level) => match level.parse::<u8>() {
                Ok(level) if (1..=max).contains(&level) => Ok(match default {
                    Compression::Zstd { .. } => Compression::Zstd { level },
                    Compression::Gzip { .. } | Compression::None => Compression::Gzip { level },
                }),
                _ => Err(CompressionError::Level { method, level: level.to_owned(), min: 1, max }),
            },
        };
        match method {
            "gzip" => parse("gzip", Compression::DEFAULT_GZIP, 12),
            "zstd" => parse("zstd", Compression::DEFAULT_ZSTD, 19),
            "none" if level.is_none() => Ok(Compression::None),
            _ => Err(CompressionError::Unknown(text.to_owned())),
        }
    }
}

impl serde::Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_as_written() {
        for text in ["none", "gzip:1", "gzip:12", "zstd:1", "zstd:19"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        assert_eq!("gzip".parse(), Ok(Compression::DEFAULT_GZIP));
        assert_eq!("zstd".parse(), Ok(Compression::DEFAULT_ZSTD));
    }

    #[test]
    fn a_bad_setting_is_refused_with_the_reason() {
        for (text, message) in [
            ("gzip:13", "gzip has levels 1 to 12, not \"13\""),
            ("gzip:", "gzip has levels 1 to 12, not \"\""),
            ("zstd:0", "zstd has levels 1 to 19, not \"0\""),
            ("none:1", "unknown compression \"none:1\""),
            ("lz4", "unknown compression \"lz4\""),
        ] {
            let error = text.parse::<Compression>().unwrap_err().to_string();
            assert_eq!(error.lines().next(), Some(message));
        }
    }
}
