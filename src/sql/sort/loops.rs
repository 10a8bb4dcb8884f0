//! Finds dependency loops and breaks each by a named rule.
//!
//! A loop occurs where the catalogs have more dependencies than the order of creation needs: the pieces of an
//! object (a table's defaults, a view's rule) and the object depend on each other. In a loop of two objects,
//! the piece can stay inside the object's statement. In a longer loop, one piece must become a separate,
//! later statement.

use std::collections::HashMap;

use crate::sql::kind::constraint::ConstraintKind;
use crate::sql::kind::rule::RuleEvent;
use crate::sql::kind::table::RelationKind;
use crate::sql::object::{Catalog, Components, Detail, DumpId, DumpObject, ObjectKind};
use crate::sql::warning::Warning;

/// Finds loops among the objects that could not be sorted and repairs each. Only disjoint loops are repaired
/// in one call, because the repair of one may repair another that shares a member. If no loop is found, all
/// dependencies of the first object are removed, with a warning, so that sorting terminates.
pub(super) fn repair(catalog: &mut Catalog, stuck: &[DumpId]) -> Vec<Warning> {
    let mut search = Search::new(catalog.len());
    let mut warnings = Vec::new();
    let mut found = false;
    for start in stuck {
        let members = search.find(catalog, *start);
        for member in &members {
            search.processed[slot(*member)] = true;
        }
        // The start is either on a repaired loop or on none, so later searches can skip it.
        search.processed[slot(*start)] = true;
        if !members.is_empty() {
            found = true;
            warnings.extend(repair_loop(catalog, &members));
        }
    }
    if let (false, Some(first)) = (found, stuck.first()) {
        catalog[*first].dependencies.clear();
        warnings.push(Warning::new("could not identify dependency loop"));
    }
    warnings
}

fn slot(id: DumpId) -> usize {
    id.get() as usize
}

/// A depth-first search for a path from an object back to itself.
struct Search {
    /// Objects that are on no loop, or on a loop repaired in this call.
    processed: Vec<bool>,
    /// The last start object that is known to be unreachable from this object.
    failed_from: Vec<Option<DumpId>>,
    on_path: Vec<bool>,
}

impl Search {
    fn new(objects: usize) -> Self {
        Search {
            processed: vec![false; objects + 1],
            failed_from: vec![None; objects + 1],
            on_path: vec![false; objects + 1],
        }
    }

    /// Returns the members of a loop through `start`, in order of dependency from it; empty if there is none.
    /// The stack is explicit because a chain of dependencies can be as long as the number of objects.
    fn find(&mut self, catalog: &Catalog, start: DumpId) -> Vec<DumpId> {
        let mut path: Vec<(DumpId, usize)> = Vec::new();
        let mut candidate = Some(start);
        loop {
            if let Some(id) = candidate.take().filter(|id| self.is_open(*id, start)) {
                self.on_path[slot(id)] = true;
                path.push((id, 0));
                if catalog[id].dependencies.contains(&start) {
                    return self.leave(path);
                }
            }
            let Some((id, next)) = path.last_mut() else { return Vec::new() };
            if let Some(dependency) = catalog[*id].dependencies.get(*next) {
                *next += 1;
                candidate = Some(*dependency);
            } else {
                self.failed_from[slot(*id)] = Some(start);
                self.on_path[slot(*id)] = false;
                path.pop();
            }
        }
    }

    fn is_open(&self, id: DumpId, start: DumpId) -> bool {
        !self.processed[slot(id)] && self.failed_from[slot(id)] != Some(start) && !self.on_path[slot(id)]
    }

    fn leave(&mut self, path: Vec<(DumpId, usize)>) -> Vec<DumpId> {
        path.into_iter()
            .map(|(id, _)| {
                self.on_path[slot(id)] = false;
                id
            })
            .collect()
    }
}

/// Breaks a loop by the first rule that applies.
fn repair_loop(catalog: &mut Catalog, members: &[DumpId]) -> Option<Warning> {
    let repaired = match members {
        [only] => table_with_itself(catalog, *only),
        [a, b] => two_members(catalog, *a, *b) || two_members(catalog, *b, *a),
        _ => many_members(catalog, members),
    };
    if repaired {
        return None;
    }
    let warning = if members.iter().all(|id| catalog[*id].kind() == ObjectKind::TableData) {
        circular_foreign_keys(catalog, members)
    } else {
        unresolved(catalog, members)
    };
    // No rule applies, so the first dependency is removed.
    let next = members.get(1).or(members.first()).copied();
    if let (Some(first), Some(next)) = (members.first(), next) {
        catalog[*first].forget_dependency(next);
    }
    Some(warning)
}

/// A dependency of a column on another column or on the whole table appears as a table that depends on
/// itself.
fn table_with_itself(catalog: &mut Catalog, id: DumpId) -> bool {
    let is_table = catalog[id].kind() == ObjectKind::Table;
    if is_table {
        catalog[id].forget_dependency(id);
    }
    is_table
}

/// Applies the rules for an object and one of its pieces, which stays inside the object's statement.
fn two_members(catalog: &mut Catalog, whole: DumpId, piece: DumpId) -> bool {
    if catalog[whole].kind() == ObjectKind::Type && catalog[piece].kind() == ObjectKind::Function {
        type_and_its_function(catalog, whole, piece);
        return true;
    }
    let rules = [
        view_of_select_rule(catalog, piece).filter(|v| is_view(catalog, *v)),
        table_of_check(catalog, piece),
        catalog.attribute_default(piece).map(|d| d.table),
        domain_of_check(catalog, piece),
    ];
    if rules.contains(&Some(whole)) {
        catalog[piece].forget_dependency(whole);
        return true;
    }
    // The index of a partitioned table depends on the indexes of its partitions through the constraint's
    // dependencies; those indexes are attached later.
    if let (Some(parted), Some(_)) = (catalog.index(whole), catalog.index(piece))
        && parted.parent == catalog[piece].catalog_id.oid
    {
        catalog[whole].forget_dependency(piece);
        return true;
    }
    false
}

/// A function of a type (for example its input function) needs only the shell type.
fn type_and_its_function(catalog: &mut Catalog, data_type: DumpId, function: DumpId) {
    catalog[function].forget_dependency(data_type);
    let Some(shell) = catalog.data_type(data_type).and_then(|t| t.shell) else { return };
    catalog[function].depend_on(shell);
    let wanted = catalog[function].dump;
    if !wanted.is_empty() {
        catalog[shell].dump = wanted | Components::DEFINITION;
    }
}

/// Applies the rules for loops of more than two members, which split off a piece or move it after the data.
/// The order of the rules determines which piece is split off.
fn many_members(catalog: &mut Catalog, members: &[DumpId]) -> bool {
    split_select_rule(catalog, members)
        || postpone(catalog, members, |c, id| relation_kind(c, id) == Some(RelationKind::MaterializedView))
        || postpone(catalog, members, |c, id| c[id].kind() == ObjectKind::Function)
        || split_check_of_table(catalog, members)
        || split_default(catalog, members)
        || split_check_of_domain(catalog, members)
}

/// Returns, of the pairs of an object and its piece that are both in the loop, the pair whose object comes
/// first in the loop, with the first of its pieces.
fn find_pair(members: &[DumpId], whole_of: impl Fn(DumpId) -> Option<DumpId>) -> Option<(DumpId, DumpId)> {
    let position: HashMap<DumpId, usize> = members.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let pairs = members.iter().filter_map(|piece| Some((whole_of(*piece)?, *piece)));
    let present = pairs.filter_map(|(whole, piece)| Some((position.get(&whole)?, whole, piece)));
    present.min_by_key(|(at, ..)| **at).map(|(_, whole, piece)| (whole, piece))
}

/// A view in a loop is first created with dummy columns; its rule replaces it in the post-data section.
fn split_select_rule(catalog: &mut Catalog, members: &[DumpId]) -> bool {
    let pair = find_pair(members, |rule| {
        view_of_select_rule(catalog, rule)
            .filter(|view| relation_kind(catalog, *view) == Some(RelationKind::View))
    });
    let Some((view, rule)) = pair else { return false };
    if let Some(view) = catalog.table_mut(view) {
        view.dummy_view = true;
    }
    if let Some(rule) = catalog.rule_mut(rule) {
        rule.separate = true;
    }
    split(catalog, view, rule, true);
    true
}

fn split_check_of_table(catalog: &mut Catalog, members: &[DumpId]) -> bool {
    let pair = find_pair(members, |check| table_of_check(catalog, check));
    let Some((table, check)) = pair else { return false };
    split_check(catalog, table, check);
    true
}

fn split_check_of_domain(catalog: &mut Catalog, members: &[DumpId]) -> bool {
    let pair = find_pair(members, |check| domain_of_check(catalog, check));
    let Some((domain, check)) = pair else { return false };
    split_check(catalog, domain, check);
    true
}

fn split_check(catalog: &mut Catalog, whole: DumpId, check: DumpId) {
    if let Some(check) = catalog.constraint_mut(check) {
        check.separate = true;
    }
    split(catalog, whole, check, true);
}

/// A separate default stays in the pre-data section, so that it is in effect when rows are loaded.
fn split_default(catalog: &mut Catalog, members: &[DumpId]) -> bool {
    let pair = find_pair(members, |default| catalog.attribute_default(default).map(|d| d.table));
    let Some((table, default)) = pair else { return false };
    if let Some(default) = catalog.attribute_default_mut(default) {
        default.separate = true;
    }
    split(catalog, table, default, false);
    true
}

/// Reverses the dependency: the piece now comes after the whole. The rule for two members has usually removed
/// the original dependency already, because shorter loops are found first.
fn split(catalog: &mut Catalog, whole: DumpId, piece: DumpId, post_data: bool) {
    catalog[whole].forget_dependency(piece);
    catalog[piece].depend_on(whole);
    if post_data && let Some(boundary) = boundary(catalog, ObjectKind::PostDataBoundary) {
        catalog[piece].depend_on(boundary);
    }
}

/// Materialized views and functions cannot be split. If one is in a loop with the pre-data boundary, this
/// removes the boundary's dependency on the next member of the loop, which may then come after the boundary.
fn postpone(catalog: &mut Catalog, members: &[DumpId], is_cause: impl Fn(&Catalog, DumpId) -> bool) -> bool {
    if !members.iter().any(|id| is_cause(catalog, *id)) {
        return false;
    }
    let at = members.iter().position(|id| catalog[*id].kind() == ObjectKind::PreDataBoundary);
    let Some((at, next)) = at.and_then(|at| Some((at, *members.get(at + 1).or(members.first())?))) else {
        return false;
    };
    catalog[members[at]].forget_dependency(next);
    if is_cause(catalog, next) {
        match &mut catalog[next].detail {
            Detail::Table(table) => table.postponed = true,
            Detail::Function(function) => function.postponed = true,
            _ => {}
        }
    }
    true
}

fn boundary(catalog: &Catalog, kind: ObjectKind) -> Option<DumpId> {
    catalog.iter().rev().find(|o| o.kind() == kind).map(|o| o.id)
}

fn relation_kind(catalog: &Catalog, id: DumpId) -> Option<RelationKind> {
    catalog.table(id).map(|t| t.kind)
}

fn is_view(catalog: &Catalog, id: DumpId) -> bool {
    matches!(relation_kind(catalog, id), Some(RelationKind::View | RelationKind::MaterializedView))
}

/// The view or materialized view that an `ON SELECT` rule defines.
fn view_of_select_rule(catalog: &Catalog, rule: DumpId) -> Option<DumpId> {
    catalog.rule(rule).filter(|r| r.event == RuleEvent::Select && r.instead).map(|r| r.table)
}

fn table_of_check(catalog: &Catalog, check: DumpId) -> Option<DumpId> {
    catalog.constraint(check).filter(|c| c.kind == ConstraintKind::Check).and_then(|c| c.table)
}

fn domain_of_check(catalog: &Catalog, check: DumpId) -> Option<DumpId> {
    let is_of_domain = |kind| matches!(kind, ConstraintKind::Check | ConstraintKind::NotNull);
    catalog.constraint(check).filter(|c| is_of_domain(c.kind)).and_then(|c| c.domain)
}

fn circular_foreign_keys(catalog: &Catalog, members: &[DumpId]) -> Warning {
    let these = if members.len() == 1 { "on this table" } else { "among these tables" };
    Warning {
        message: format!("there are circular foreign-key constraints {these}:"),
        details: members.iter().map(|id| catalog[*id].name.clone()).collect(),
        hints: vec![
            "You might not be able to restore the dump without using --disable-triggers or temporarily dropping the constraints.",
            "Consider using a full dump instead of a --data-only dump to avoid this problem.",
        ],
    }
}

fn unresolved(catalog: &Catalog, members: &[DumpId]) -> Warning {
    Warning {
        details: members.iter().map(|id| describe(catalog, &catalog[*id])).collect(),
        ..Warning::new("could not resolve dependency loop among these items:")
    }
}

/// Formats an object with its ids, as in pg_dump's warning about a loop. Objects without a catalog row have
/// no OID.
fn describe(catalog: &Catalog, object: &DumpObject) -> String {
    let named = |words: &str| format!("{words} {} ", object.name);
    let words = match &object.detail {
        Detail::Namespace(_) => named("SCHEMA"),
        Detail::Extension(_) => named("EXTENSION"),
        Detail::Type(_) => named("TYPE"),
        Detail::ShellType(_) => named("SHELL TYPE"),
        Detail::Function(_) => named("FUNCTION"),
        Detail::Aggregate(_) => named("AGGREGATE"),
        Detail::Operator(_) => named("OPERATOR"),
        Detail::AccessMethod(_) => named("ACCESS METHOD"),
        Detail::OperatorClass(_) => named("OPERATOR CLASS"),
        Detail::OperatorFamily(_) => named("OPERATOR FAMILY"),
        Detail::Collation(_) => named("COLLATION"),
        Detail::Conversion(_) => named("CONVERSION"),
        Detail::Table(_) => named("TABLE"),
        Detail::TableAttach(_) => named("TABLE ATTACH"),
        Detail::AttributeDefault(default) => {
            let table = catalog.table(default.table);
            let column = table.and_then(|table| table.column(default.number.into()));
            format!("ATTRDEF {}.{} ", catalog[default.table].name, column.map_or("", |c| &c.name))
        }
        Detail::Index(_) => named("INDEX"),
        Detail::IndexAttach(_) => named("INDEX ATTACH"),
        Detail::Statistics(_) => named("STATISTICS"),
        Detail::Rule(_) => named("RULE"),
        Detail::Trigger(_) => named("TRIGGER"),
        Detail::Constraint(_) => named("CONSTRAINT"),
        Detail::ForeignKey(_) => named("FK CONSTRAINT"),
        Detail::Language(_) => named("PROCEDURAL LANGUAGE"),
        Detail::Cast(cast) => format!("CAST {} to {} ", cast.source, cast.target),
        Detail::TableData(_) => named("TABLE DATA"),
        Detail::SequenceSet(_) => named("SEQUENCE SET"),
        Detail::DummyType(_) => named("DUMMY TYPE"),
        Detail::TsParser(_) => named("TEXT SEARCH PARSER"),
        Detail::TsDictionary(_) => named("TEXT SEARCH DICTIONARY"),
        Detail::TsTemplate(_) => named("TEXT SEARCH TEMPLATE"),
        Detail::TsConfiguration(_) => named("TEXT SEARCH CONFIGURATION"),
        Detail::ForeignDataWrapper(_) => named("FOREIGN DATA WRAPPER"),
        Detail::ForeignServer(_) => named("FOREIGN SERVER"),
        Detail::DefaultAcl(_) => named("DEFAULT ACL"),
        Detail::Transform(transform) => {
            format!("TRANSFORM {} lang {} ", transform.type_oid, transform.language)
        }
        Detail::LargeObject(_) => "BLOB ".to_owned(),
        Detail::LargeObjectData(_) => "BLOB DATA ".to_owned(),
        Detail::PreDataBoundary(()) => "PRE-DATA BOUNDARY ".to_owned(),
        Detail::PostDataBoundary(()) => "POST-DATA BOUNDARY ".to_owned(),
        Detail::EventTrigger(_) => format!("EVENT TRIGGER {}", object.name),
        Detail::MatviewRefresh(_) => named("REFRESH MATERIALIZED VIEW"),
        Detail::Policy(_) => "POLICY".to_owned(),
        Detail::Publication(_) => "PUBLICATION".to_owned(),
        Detail::PublicationTable(_) => "PUBLICATION TABLE".to_owned(),
        Detail::PublicationNamespace(_) => "PUBLICATION TABLES IN SCHEMA".to_owned(),
        Detail::Subscription(_) => "SUBSCRIPTION".to_owned(),
    };
    let id = catalog.id_in_pg_dump(object.id);
    match &object.detail {
        Detail::TableAttach(_)
        | Detail::IndexAttach(_)
        | Detail::LargeObjectData(_)
        | Detail::PreDataBoundary(())
        | Detail::PostDataBoundary(()) => format!("{words} (ID {id})"),
        _ => format!("{words} (ID {id} OID {})", object.catalog_id.oid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::depend::add_boundaries;
    use crate::sql::kind::attribute_default::AttributeDefault;
    use crate::sql::kind::constraint::Constraint;
    use crate::sql::kind::firing::Firing;
    use crate::sql::kind::function::Function;
    use crate::sql::kind::rule::Rule;
    use crate::sql::kind::table_data::TableData;
    use crate::sql::object::class;
    use crate::sql::sort::{sort, tests::Builder};

    fn select_rule(view: DumpId) -> Detail {
        Detail::Rule(Rule {
            table: view,
            event: RuleEvent::Select,
            instead: true,
            firing: Firing::Origin,
            separate: false,
            definition: None,
        })
    }

    fn check(table: DumpId) -> Detail {
        Detail::Constraint(Constraint {
            table: Some(table),
            domain: None,
            kind: ConstraintKind::Check,
            definition: String::new(),
            referenced_table: 0,
            index: None,
            deferrable: false,
            deferred: false,
            local: true,
            separate: false,
        })
    }

    fn both_ways(b: &mut Builder, whole: DumpId, piece: DumpId) {
        b.depend(whole, piece);
        b.depend(piece, whole);
    }

    #[test]
    fn a_view_keeps_its_rule_when_nothing_else_is_in_the_loop() {
        let mut b = Builder::default();
        let view = b.table("v", RelationKind::View);
        let rule = b.add(class::PG_REWRITE, "_RETURN", select_rule(view));
        both_ways(&mut b, view, rule);
        add_boundaries(&mut b.catalog);
        assert_eq!(sort(&mut b.catalog).warnings, []);
        assert!(!b.catalog.table(view).unwrap().dummy_view);
        assert!(!b.catalog.rule(rule).unwrap().separate);
    }

    #[test]
    fn a_view_in_a_longer_loop_gets_a_dummy_and_its_rule_comes_after_the_data() {
        let mut b = Builder::default();
        let view = b.table("v", RelationKind::View);
        let rule = b.add(class::PG_REWRITE, "_RETURN", select_rule(view));
        let function = b.add(class::PG_PROC, "f", Detail::Function(Function::default()));
        both_ways(&mut b, view, rule);
        b.depend(rule, function);
        b.depend(function, view);
        add_boundaries(&mut b.catalog);
        let order = sort(&mut b.catalog).order;
        assert!(b.catalog.table(view).unwrap().dummy_view && b.catalog.rule(rule).unwrap().separate);
        let at = |kind| order.iter().position(|id| b.catalog[*id].kind() == kind);
        assert!(at(ObjectKind::Table) < at(ObjectKind::Function));
        assert!(at(ObjectKind::PostDataBoundary) < at(ObjectKind::Rule));
    }

    #[test]
    fn a_check_that_uses_its_table_through_a_function_is_split_off() {
        let mut b = Builder::default();
        let table = b.table("t", RelationKind::Table);
        let check = b.add(class::PG_CONSTRAINT, "c", check(table));
        let function = b.add(class::PG_PROC, "f", Detail::Function(Function::default()));
        both_ways(&mut b, table, check);
        b.depend(check, function);
        b.depend(function, table);
        add_boundaries(&mut b.catalog);
        assert_eq!(sort(&mut b.catalog).warnings, []);
        assert!(b.catalog.constraint(check).unwrap().separate);
    }

    #[test]
    fn a_default_that_is_split_off_stays_before_the_data() {
        let mut b = Builder::default();
        let table = b.table("t", RelationKind::Table);
        let default = Detail::AttributeDefault(AttributeDefault {
            table,
            number: 1,
            expression: String::new(),
            separate: false,
        });
        let default = b.add(class::PG_ATTRDEF, "t", default);
        let function = b.add(class::PG_PROC, "f", Detail::Function(Function::default()));
        both_ways(&mut b, table, default);
        b.depend(default, function);
        b.depend(function, table);
        add_boundaries(&mut b.catalog);
        let order = sort(&mut b.catalog).order;
        assert!(b.catalog.attribute_default(default).unwrap().separate);
        let at = |id| order.iter().position(|o| *o == id);
        assert!(at(table) < at(default) && at(default) < at(order_of_pre_data(&b.catalog)));
    }

    fn order_of_pre_data(catalog: &Catalog) -> DumpId {
        boundary(catalog, ObjectKind::PreDataBoundary).unwrap()
    }

    #[test]
    fn rows_of_tables_that_refer_to_each_other_are_warned_of() {
        let mut b = Builder::default();
        let data = |b: &mut Builder, name: &str| {
            let table = b.table(name, RelationKind::Table);
            b.add(0, name, Detail::TableData(TableData::of(table)))
        };
        let (one, two) = (data(&mut b, "one"), data(&mut b, "two"));
        both_ways(&mut b, one, two);
        let warnings = sort(&mut b.catalog).warnings;
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].message, "there are circular foreign-key constraints among these tables:");
        assert_eq!(warnings[0].details, ["one", "two"]);
        assert_eq!(warnings[0].hints.len(), 2);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let mut b = Builder::default();
        let first = b.table("t", RelationKind::Table);
        let mut last = first;
        for _ in 0..200_000 {
            let next = b.table("t", RelationKind::Table);
            b.depend(last, next);
            last = next;
        }
        b.depend(last, first);
        assert_eq!(sort(&mut b.catalog).warnings.len(), 1);
    }
}
