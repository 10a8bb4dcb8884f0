//! The role that reads a database, as docs/storing.md gives it to a superuser.

/// The block of SQL in docs/storing.md that begins so, for a database and with a password filled in.
pub fn documented(begin: &str, database: &str, password: &str) -> String {
    let page = include_str!("../../../docs/storing.md");
    let block = page.split("```sql\n").skip(1).find(|block| block.starts_with(begin));
    let block = block.and_then(|block| block.split("```").next());
    block.expect("the page has it").replace("CHANGE_ME", password).replace("schemastack", database)
}

/// The statements that make the role `backup`.
pub fn backup(database: &str, password: &str) -> String {
    documented("CREATE ROLE backup ", database, password)
}
