//! Three real databases: pagila, chinook and northwind.

use std::path::{Path, PathBuf};

use super::postgres::{Database, Server};

/// The names of the three databases in the demo, each with the sample that is loaded into it.
pub const DATABASES: [(&str, &str); 3] =
    [("metadata", "pagila"), ("website", "chinook"), ("demo", "northwind")];

/// Returns the path of a sample's script.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sample").join(format!("{name}.sql"))
}

/// Creates the three databases.
pub fn load(server: &Server) -> Vec<(&'static str, Database<'_>)> {
    let load = |(name, script): (&'static str, &str)| {
        let database = server.database_named(name);
        database.load(&sample(script)).expect_success();
        (name, database)
    };
    DATABASES.into_iter().map(load).collect()
}
