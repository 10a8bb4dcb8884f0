//! A set of options for the second comparison of a database.

use super::model::{Generator, Shape};

/// Options that combine with all others. Those of one group exclude each other.
const GROUPS: &[&[&[&str]]] = &[
    &[
        &["-s"],
        &["-a"],
        &["-a", "--disable-triggers"],
        &["-a", "--disable-triggers", "-S", "su_owner"],
        &["-c"],
        &["-c", "--if-exists"],
        &["-b", "-s"],
        &["--section=pre-data"],
        &["--section=data"],
        &["--section=post-data"],
        &["--section=pre-data", "--section=post-data", "-c"],
    ],
    &[
        &["--inserts"],
        &["--column-inserts"],
        &["--column-inserts", "--on-conflict-do-nothing"],
        &["--rows-per-insert=2"],
        &["--rows-per-insert=3", "--column-inserts"],
    ],
    &[
        &["-C"],
        &["-O"],
        &["-x"],
        &["-O", "-x"],
        &["--use-set-session-authorization"],
        &["-C", "-c", "--if-exists"],
    ],
    &[&["--quote-all-identifiers"], &["--disable-dollar-quoting"]],
    &[&["--load-via-partition-root"], &["--no-unlogged-table-data"], &["--enable-row-security"], &["-B"]],
    &[
        &["--no-comments"],
        &["--no-security-labels"],
        &["--no-publications"],
        &["--no-subscriptions"],
        &["--no-tablespaces"],
        &["--no-table-access-method"],
        &["--no-toast-compression"],
    ],
    &[
        &["--extra-float-digits=-3"],
        &["-e", "plpgsql"],
        &["-e", "*"],
        &["-E", "UTF8", "--serializable-deferrable"],
        &["--role=su_owner"],
        &["--role=reader", "-s"],
        &["--lock-wait-timeout=60s"],
        &["--strict-names"],
    ],
];

pub fn pick(g: &mut Generator) -> Vec<String> {
    let mut options = if g.chance(35) { patterns(g) } else { Vec::new() };
    let count = g.between(1, 3);
    for group in g.some_of(GROUPS, count) {
        let set = group[g.below(group.len())];
        options.extend(set.iter().map(|option| (*option).to_owned()));
    }
    // A dump of the system schemas has the longest list of entries to number.
    let all_schemas = options.iter().any(|option| option == "*");
    if g.chance(if all_schemas { 50 } else { 20 }) {
        options.push("-v".to_owned());
    }
    options
}

/// Returns patterns that match the script's names. A pattern quotes a name as SQL does.
fn patterns(g: &mut Generator) -> Vec<String> {
    let schema = g.schema_name();
    let relations =
        [Shape::Table, Shape::Partitioned, Shape::Partition, Shape::View, Shape::Matview, Shape::Foreign];
    let [one, other] = [0, 1].map(|_| {
        let id = g.relation(&relations).unwrap_or(0);
        g.relation_sql(id)
    });
    let sequence = g.of_kind("SEQUENCE").unwrap_or_else(|| "*".to_owned());
    match g.below(11) {
        0 => vec!["-n".into(), schema],
        1 => vec!["-N".into(), schema],
        2 => vec!["-t".into(), one],
        3 => vec!["-t".into(), one, "-t".into(), other],
        4 => vec!["-T".into(), one, "-T".into(), other],
        5 => vec!["-n".into(), "*".into(), "-T".into(), one],
        6 => vec!["-t".into(), format!("{schema}.*"), "-T".into(), other],
        7 => vec![format!("--exclude-table-data={one}"), "-N".into(), "public".into()],
        8 => vec!["-n".into(), "*".into(), "-N".into(), schema],
        9 => vec!["-t".into(), sequence, "-n".into(), schema],
        _ => vec!["-t".into(), "*.*a*".into(), "-t".into(), "*e*".into()],
    }
}
