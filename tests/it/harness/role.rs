//! The role that reads a database, as docs/storing.md tells a superuser to create it.

/// Returns the SQL block in docs/storing.md that starts with `begin`, with the database and the password
/// filled in.
pub fn documented(begin: &str, database: &str, password: &str) -> String {
    let page = include_str!("../../../docs/storing.md");
    let block = page.split("```sql\n").skip(1).find(|block| block.starts_with(begin));
    let block = block.and_then(|block| block.split("```").next());
    block.expect("the page has it").replace("CHANGE_ME", password).replace("schemastack", database)
}

/// Returns the statements that create the role `backup`.
pub fn backup(database: &str, password: &str) -> String {
    documented("CREATE ROLE backup ", database, password)
}
