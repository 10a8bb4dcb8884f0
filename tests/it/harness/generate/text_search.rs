//! Text search: parsers, templates, dictionaries, configurations.

use super::model::Generator;

pub fn parser(g: &mut Generator) {
    let name = g.qualified("parser");
    let headline = g.maybe(50, ", HEADLINE = prsd_headline");
    g.run(format!(
        "CREATE TEXT SEARCH PARSER {name} (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype{headline})"
    ));
    g.add_object("TEXT SEARCH PARSER", name);
}

pub fn template(g: &mut Generator) {
    let name = g.qualified("template");
    let init = if g.chance(50) {
        let function = g.qualified("init");
        g.run(format!(
            "CREATE FUNCTION {function}(internal) RETURNS internal LANGUAGE internal AS 'dsimple_init'"
        ));
        g.add_object("FUNCTION", format!("{function}(internal)"));
        function
    } else {
        "dsimple_init".to_owned()
    };
    g.run(format!("CREATE TEXT SEARCH TEMPLATE {name} (INIT = {init}, LEXIZE = dsimple_lexize)"));
    g.add_object("TEXT SEARCH TEMPLATE", name);
}

pub fn dictionary(g: &mut Generator) {
    let name = g.qualified("dictionary");
    let clauses = match g.of_kind("TEXT SEARCH TEMPLATE") {
        Some(template) if g.chance(60) => {
            format!("TEMPLATE = {template}, STOPWORDS = english, ACCEPT = false")
        }
        _ => g
            .pick(&[
                "TEMPLATE = pg_catalog.simple",
                "TEMPLATE = pg_catalog.snowball, LANGUAGE = german, STOPWORDS = 'german'",
                "TEMPLATE = pg_catalog.synonym, SYNONYMS = 'synonym_sample', CASESENSITIVE = 1",
            ])
            .to_owned(),
    };
    g.run(format!("CREATE TEXT SEARCH DICTIONARY {name} ({clauses})"));
    g.add_object("TEXT SEARCH DICTIONARY", name);
}

pub fn configuration(g: &mut Generator) {
    let name = g.qualified("config");
    let parser = g.of_kind("TEXT SEARCH PARSER");
    match parser {
        Some(parser) if g.chance(60) => {
            g.run(format!("CREATE TEXT SEARCH CONFIGURATION {name} (PARSER = {parser})"));
        }
        _ => g.run(format!("CREATE TEXT SEARCH CONFIGURATION {name} (PARSER = pg_catalog.\"default\")")),
    }
    g.add_object("TEXT SEARCH CONFIGURATION", name.clone());
    for token in g.some_of(&["asciiword", "word", "email, url", "int", "hword, numword", "blank"], 4) {
        let dictionary = match g.of_kind("TEXT SEARCH DICTIONARY") {
            Some(own) if g.chance(60) => format!("{own}, pg_catalog.simple"),
            _ => "pg_catalog.english_stem".to_owned(),
        };
        g.run(format!("ALTER TEXT SEARCH CONFIGURATION {name} ADD MAPPING FOR {token} WITH {dictionary}"));
    }
}
