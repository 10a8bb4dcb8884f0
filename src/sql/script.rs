//! TOC entries → pg_dump's plain text.
