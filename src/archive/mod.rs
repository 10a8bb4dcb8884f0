//! What is written beside a dump and how its parts are named: the table of contents, the
//! manifest, the object keys. Knows neither SQL nor storage.

pub mod toc;
