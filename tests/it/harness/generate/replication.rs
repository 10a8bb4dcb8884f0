//! Publications and subscriptions. No subscription connects.

use super::data_type::BIGINT;
use super::model::{Generator, Shape};

pub fn publication(g: &mut Generator) {
    let name = g.name("pub");
    let mut targets = Vec::new();
    let mut lists = false;
    let mut taken = Vec::new();
    for _ in 0..g.below(4) {
        let Some(id) = g.relation(&[Shape::Table, Shape::Table, Shape::Partitioned, Shape::Partition]) else {
            break;
        };
        if taken.contains(&id) {
            continue;
        }
        taken.push(id);
        let mut target = format!("TABLE {}", g.relation_sql(id));
        let columns = g.relations[id].columns.clone();
        if g.chance(25) {
            let some: Vec<String> = g.some_of(&columns, 3).into_iter().map(|column| column.name).collect();
            target += &format!(" ({})", some.join(", "));
            lists = true;
        }
        if let (Some(column), true) = (columns.iter().find(|column| column.ty <= BIGINT), g.chance(35)) {
            target += &format!(" WHERE ({} > 5 OR {} IS NULL)", column.name, column.name);
        }
        targets.push(target);
    }
    if !lists && g.chance(25) {
        targets.push(format!("TABLES IN SCHEMA {}", g.schema_name()));
    }
    let target = match targets.join(", ") {
        _ if g.chance(15) => " FOR ALL TABLES".to_owned(),
        targets if targets.is_empty() => String::new(),
        targets => format!(" FOR {targets}"),
    };
    let options = g.pick(&[
        "",
        "",
        " WITH (publish = 'insert')",
        " WITH (publish = '')",
        " WITH (publish = 'delete, truncate', publish_via_partition_root = true)",
    ]);
    g.run(format!("CREATE PUBLICATION {name}{target}{options}"));
    g.add_object("PUBLICATION", name);
}

pub fn subscription(g: &mut Generator) {
    let name = g.name("sub");
    let publications: Vec<String> = (0..g.between(1, 3)).map(|_| g.name("their_pub")).collect();
    let connection =
        g.pick(&["'dbname=nowhere'", "E'host=h password=''it\\\\''s'' application_name=a\\\\\\\\b'"]);
    let connection = connection.replace("password=''it\\\\''s'' ", "password=its ");
    let options = g.some_of(
        &[
            "binary = true",
            "streaming = on",
            "two_phase = true",
            "disable_on_error = true",
            "synchronous_commit = 'remote_apply'",
        ],
        3,
    );
    let slot = g.pick(&["slot_name = NONE", "slot_name = 'the_slot'"]);
    g.run(format!(
        "CREATE SUBSCRIPTION {name} CONNECTION {connection} PUBLICATION {} WITH (connect = false, {slot}, {})",
        publications.join(", "),
        options.join(", ")
    ));
    g.add_object("SUBSCRIPTION", name);
}
