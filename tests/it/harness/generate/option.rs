//! A set of options for the second comparison of a database.

use super::model::{Generator, Shape};

const SETS: &[&[&str]] = &[
    &["-s"],
    &["-a"],
    &["--inserts"],
    &["--column-inserts", "--on-conflict-do-nothing"],
    &["--rows-per-insert=2"],
    &["-c"],
    &["-c", "--if-exists"],
    &["-C"],
    &["-C", "-c", "--if-exists"],
    &["-O", "-x"],
    &["--no-owner", "-c"],
    &["--quote-all-identifiers"],
    &["--quote-all-identifiers", "-C", "-c", "--inserts"],
    &["--section=pre-data"],
    &["--section=data"],
    &["--section=post-data"],
    &["--section=pre-data", "--section=post-data", "-c"],
    &["-a", "--disable-triggers"],
    &["-a", "--disable-triggers", "-S", "su_owner"],
    &["--load-via-partition-root"],
    &["-a", "--load-via-partition-root", "--inserts"],
    &["--no-comments", "--no-security-labels"],
    &["--no-publications", "--no-subscriptions"],
    &["--no-tablespaces", "--no-table-access-method", "--no-toast-compression"],
    &["--no-unlogged-table-data"],
    &["--use-set-session-authorization", "-c"],
    &["--disable-dollar-quoting"],
    &["--enable-row-security"],
    &["-B"],
    &["-b", "-s"],
    &["--extra-float-digits=-3"],
    &["-e", "plpgsql"],
    &["-E", "UTF8", "--serializable-deferrable"],
    &["--role=su_owner"],
    &["--lock-wait-timeout=60s", "--strict-names", "-n", "public"],
];

pub fn pick(g: &mut Generator) -> Vec<String> {
    if g.chance(65) {
        let set = SETS[g.below(SETS.len())];
        return set.iter().map(|option| (*option).to_owned()).collect();
    }
    let mut options = patterns(g);
    if g.chance(50) {
        let more = g.pick(&["-s", "-c", "-a", "--inserts", "--no-comments", "-b", "--strict-names"]);
        options.push(more.to_owned());
    }
    options
}

/// Patterns that name what the script has made; as SQL quotes a name, so a pattern does.
fn patterns(g: &mut Generator) -> Vec<String> {
    let schema = g.schema_name();
    let relations =
        [Shape::Table, Shape::Partitioned, Shape::Partition, Shape::View, Shape::Matview, Shape::Foreign];
    let names = [0, 1].map(|_| {
        let id = g.relation(&relations).unwrap_or(0);
        g.relation_sql(id)
    });
    let [one, other] = names;
    let words: Vec<String> = match g.below(9) {
        0 => vec!["-n".into(), schema],
        1 => vec!["-N".into(), schema],
        2 => vec!["-t".into(), one],
        3 => vec!["-t".into(), one, "-t".into(), other],
        4 => vec!["-T".into(), one, "-T".into(), other],
        5 => vec!["-n".into(), "*".into(), "-T".into(), one],
        6 => vec!["-t".into(), format!("{schema}.*"), "-T".into(), other],
        7 => vec![format!("--exclude-table-data={one}"), "-N".into(), "public".into()],
        _ => vec!["-t".into(), "*.*a*".into(), "-t".into(), "*e*".into()],
    };
    words
}
