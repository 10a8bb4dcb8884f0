//! Environment and file → validated configuration.
