//! Generated databases: a script of valid SQL from a seed. Every kind of object and clause has a chance, and
//! the objects depend on each other at random.
//!
//! The generator stores what it has created (its types, routines, relations and everything that can have a
//! comment, an owner or privileges), and each new object refers at random to earlier ones. The generator
//! knows the server's rules well enough that nearly every statement succeeds. The others may fail, because
//! only the resulting database is compared. The same seed gives the same script.
//!
//! The generator avoids objects for which pg_dump's own output cannot be restored:
//! - members added to extensions by hand, and security labels (no provider is installed): only in scripts
//!   with [`Script::by_hand`], whose dumps are restored as far as possible.
//! - owners without the right to read what their materialized views, index expressions and rules read: the
//!   roles that are not superusers are members of `pg_read_all_data` and `pg_write_all_data`.
//! - languages whose handlers are the server's own functions: they are dumped as extensions' languages.
//! - unqualified names in the bodies of functions: a dump runs with an empty search path.
//! - checks that a row may fail later: they are true for every row, except those that are NOT VALID.
//! - partitions of tables that are partitioned by an enum's hash: the hash is that of the OID.
//! - functions that call themselves, views over themselves, and tables with the row type of a materialized
//!   view that waits for a key. Longer cycles that no dump can break are generated rarely: pg_dump warns
//!   about them, and their restore must only get as far as the restore of pg_dump's dump.
//! - range types with long names of multibyte characters and no name for the multirange: the server derives
//!   an invalid name.
//! - operators of extensions' types, and new operators named `=` or `<` on the search path, where NULLIF and
//!   IN would find them: a dump cannot name the operator.

mod column;
mod comment;
mod constraint;
mod data_type;
mod expression;
mod foreign;
mod index;
mod language;
mod lineage;
mod model;
mod name;
mod operator;
mod option;
mod partition;
mod privilege;
mod query;
mod replication;
mod routine;
mod row;
mod setting;
mod table;
mod tangle;
mod text_search;
mod trigger;
mod view;

pub use model::CLUSTER;
use model::Generator;

/// A generated database: the statements that create it, and the options for its dump.
pub struct Script {
    /// The seed that it was generated from.
    pub seed: u64,
    /// The clauses of CREATE DATABASE: encoding and locale.
    pub database: &'static str,
    /// The statements, in order.
    pub statements: Vec<String>,
    /// A set of options for a second comparison.
    pub options: Vec<String>,
    /// Whether catalogs were changed by hand, so that the dump cannot be restored without errors.
    pub by_hand: bool,
}

impl Script {
    /// Returns the statements as a script for psql.
    pub fn text(&self) -> String {
        let mut text = format!("-- seed {}\n", self.seed);
        for statement in &self.statements {
            text += statement;
            text += ";\n";
        }
        text
    }
}

/// Encodings and locales. The bytes of a script are the same in each. In a single-byte encoding they are
/// other characters.
const DATABASES: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "ENCODING 'LATIN1' LOCALE 'C'",
    "ENCODING 'SQL_ASCII' LOCALE 'C'",
    "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'",
];

/// A step creates one object, or a few related ones.
type Step = fn(&mut Generator);

/// Every step, with its weight.
const STEPS: &[(u32, Step)] = &[
    (3, data_type::enumeration),
    (4, data_type::composite),
    (5, data_type::domain),
    (3, data_type::range),
    (3, data_type::base),
    (1, data_type::shell),
    (2, data_type::collation),
    (1, data_type::evolve),
    (9, routine::scalar),
    (1, routine::replace),
    (4, routine::table_function),
    (2, routine::internal),
    (3, routine::procedure),
    (3, routine::aggregate),
    (10, table::plain),
    (2, table::inherited),
    (2, lineage::family),
    (2, table::typed),
    (3, table::sequence),
    (2, table::storage),
    (1, table::evolve),
    (4, partition::partitioned),
    (2, partition::indexed),
    (5, constraint::check),
    (4, constraint::key),
    (6, constraint::foreign_key),
    (2, constraint::exclusion),
    (7, index::plain),
    (3, index::statistics),
    (2, index::identity),
    (8, view::plain),
    (5, view::materialized),
    (2, view::replace),
    (2, view::recursive),
    (5, trigger::row),
    (2, trigger::constraint),
    (4, trigger::rule),
    (4, trigger::policy),
    (1, trigger::event),
    (4, operator::operator),
    (2, operator::class),
    (2, operator::family),
    (4, operator::cast),
    (2, operator::transform),
    (1, operator::access_method),
    (2, text_search::parser),
    (2, text_search::template),
    (3, text_search::dictionary),
    (3, text_search::configuration),
    (2, foreign::wrapper),
    (3, foreign::server),
    (2, foreign::mapping),
    (3, foreign::table),
    (4, replication::publication),
    (2, replication::subscription),
    (2, language::language),
    (2, language::extension),
    (2, language::conversion),
    (6, tangle::any),
    (10, row::insert),
    (1, row::set_sequence),
    (12, comment::comment),
    (8, comment::owner),
    (10, privilege::grant),
    (2, privilege::by_another),
    (2, privilege::chain),
    (3, privilege::default),
    (2, privilege::system),
    (3, setting::large_object),
    (2, setting::database),
    (1, setting::public),
    (2, name::schema),
];

/// Returns every step as often as its weight says. In half of the databases some steps have a much higher
/// weight, so their objects are dense there.
fn steps(generator: &mut Generator) -> Vec<Step> {
    let focused = generator.chance(50);
    let mut steps = Vec::new();
    for (weight, step) in STEPS {
        let times = if focused && generator.chance(12) { 8 } else { 1 };
        steps.extend(std::iter::repeat_n(*step, *weight as usize * times));
    }
    steps
}

/// Returns the first seed of the tests: PG_BACKUP_FUZZ_SEED, or a constant, so that every run has the same cases.
pub fn first_seed() -> u64 {
    let seed = match std::env::var("PG_BACKUP_FUZZ_SEED") {
        Ok(text) => text.parse().expect("PG_BACKUP_FUZZ_SEED is a number"),
        Err(_) => 20_260_000,
    };
    println!("PG_BACKUP_FUZZ_SEED={seed}");
    seed
}

/// Returns the database for a seed.
pub fn script(seed: u64) -> Script {
    let mut generator = Generator::new(seed);
    let database = generator.pick(DATABASES);
    // At least every tenth seed, so that every batch contains one.
    let by_hand = generator.chance(10) | seed.is_multiple_of(10);
    generator.open();
    let steps = steps(&mut generator);
    for _ in 0..generator.between(45, 120) {
        if let Some(step) = generator.one_of(&steps) {
            step(&mut generator);
        }
    }
    if by_hand {
        comment::by_hand(&mut generator);
    }
    let options = option::pick(&mut generator);
    Script { seed, database, statements: generator.into_statements(), options, by_hand }
}

#[test]
fn the_same_seed_gives_the_same_script() {
    let [one, again, other] = [7, 7, 8].map(|seed| script(seed).text());
    assert_eq!(one, again);
    assert_ne!(one, other);
}
