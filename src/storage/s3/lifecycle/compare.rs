//! Finds how a bucket's rules treat backups differently from the wanted rule. Each difference is a sentence
//! that names the rule.

use aws_sdk_s3::types::{
    ExpirationStatus, LifecycleExpiration, LifecycleRule, NoncurrentVersionExpiration, Tag,
    TransitionStorageClass,
};
use aws_smithy_types::date_time::Format;

use super::rule::{ABORT_DAYS, RetentionRule};

/// The scope of a rule.
#[derive(Debug, PartialEq)]
pub(super) struct RuleScope<'a> {
    pub(super) prefix: &'a str,
    tags: Vec<&'a Tag>,
    /// Whether the rule is limited by object size.
    sizes: bool,
    /// Whether the prefix is set on the rule itself, as it was before filters existed.
    pub(super) is_old_form: bool,
}

impl<'a> RuleScope<'a> {
    pub(super) fn of(rule: &'a LifecycleRule) -> RuleScope<'a> {
        #[expect(deprecated, reason = "old buckets have it")]
        let old = rule.prefix();
        let Some(filter) = rule.filter() else {
            return RuleScope {
                prefix: old.unwrap_or_default(),
                tags: Vec::new(),
                sizes: false,
                is_old_form: old.is_some(),
            };
        };
        let and = filter.and();
        let sizes = [
            filter.object_size_greater_than(),
            filter.object_size_less_than(),
            and.and_then(|and| and.object_size_greater_than()),
            and.and_then(|and| and.object_size_less_than()),
        ];
        RuleScope {
            prefix: filter.prefix().or(and.and_then(|and| and.prefix())).or(old).unwrap_or_default(),
            tags: filter.tag().into_iter().chain(and.iter().flat_map(|and| and.tags())).collect(),
            sizes: sizes.iter().any(Option::is_some),
            is_old_form: false,
        }
    }

    /// Returns whether the rule may apply to objects under `prefix` that have these tags.
    fn touches(&self, prefix: &str, tags: &[(String, String)]) -> bool {
        let has = |tag: &&Tag| tags.iter().any(|(key, value)| tag.key() == key && tag.value() == value);
        (self.prefix.starts_with(prefix) || prefix.starts_with(self.prefix)) && self.tags.iter().all(has)
    }

    /// Describes the scope in words.
    fn shown(&self) -> String {
        let mut text =
            if self.prefix.is_empty() { "the whole bucket".to_owned() } else { self.prefix.to_owned() };
        if !self.tags.is_empty() {
            let tags: Vec<String> =
                self.tags.iter().map(|tag| format!("{}={}", tag.key(), tag.value())).collect();
            text = format!("{text}, but only to objects tagged {}", tags.join(", "));
        }
        if self.sizes {
            text.push_str(", but only to objects of some sizes");
        }
        text
    }
}

/// Formats a number of days: `7 days`, `1 day`.
fn days(number: impl Into<i64>) -> String {
    match number.into() {
        1 => "1 day".to_owned(),
        number => format!("{number} days"),
    }
}

/// Describes an expiration, to follow `expires backups`.
fn expiration(found: Option<&LifecycleExpiration>) -> String {
    match (found.and_then(LifecycleExpiration::days), found.and_then(LifecycleExpiration::date)) {
        (Some(number), _) => format!("after {}", days(number)),
        (None, Some(date)) => format!("on {}", date.fmt(Format::DateTime).unwrap_or_default()),
        (None, None) => "never".to_owned(),
    }
}

fn is_enabled(rule: &LifecycleRule) -> bool {
    *rule.status() == ExpirationStatus::Enabled
}

fn abort_days(rule: &LifecycleRule) -> Option<i32> {
    rule.abort_incomplete_multipart_upload()?.days_after_initiation()
}

/// Returns how our rule in a bucket differs from the wanted rule.
pub(super) fn own_differences(wanted: &RetentionRule, rule: &LifecycleRule) -> Vec<String> {
    let id = rule.id().unwrap_or(&wanted.id);
    let mut differences = Vec::new();
    let mut differ = |does: &str, is: String, should: String| {
        if is != should {
            differences.push(format!("{id} {does} {is} instead of {should}"));
        }
    };
    let whole = RuleScope { prefix: &wanted.prefix, tags: Vec::new(), sizes: false, is_old_form: false };
    let status = |enabled: bool| if enabled { "enabled" } else { "disabled" }.to_owned();
    let after = |number: Option<i32>| match number {
        Some(number) => format!("after {}", days(number)),
        None => "never".to_owned(),
    };
    let wanted_days = format!("after {}", days(wanted.days));
    differ("is", status(is_enabled(rule)), status(true));
    differ("applies to", RuleScope::of(rule).shown(), whole.shown());
    differ("expires backups", expiration(rule.expiration()), wanted_days.clone());
    differ("removes unfinished uploads", after(abort_days(rule)), format!("after {}", days(ABORT_DAYS)));
    if wanted.versioned {
        let found = rule.noncurrent_version_expiration();
        let mut is = after(found.and_then(NoncurrentVersionExpiration::noncurrent_days));
        if let Some(number) = found.and_then(NoncurrentVersionExpiration::newer_noncurrent_versions) {
            is = format!("{is} but for {number} of them");
        }
        differ("expires former versions", is, wanted_days);
    }
    if !rule.transitions().is_empty() || !rule.noncurrent_version_transitions().is_empty() {
        differences.push(format!("{id} moves objects to other storage classes"));
    }
    differences
}

/// Returns all differences between a bucket's rules and the wanted rule for backups whose objects have these
/// tags.
pub fn differences(
    wanted: &RetentionRule,
    tags: &[(String, String)],
    present: &[LifecycleRule],
) -> Vec<String> {
    let mut differences = Vec::new();
    let own = wanted.own(present);
    if own.is_empty() {
        differences.push(format!("{} is missing", wanted.id));
        let aborts = |rule: &&LifecycleRule| {
            let scope = RuleScope::of(rule);
            let covers = wanted.prefix.starts_with(scope.prefix) && scope.tags.is_empty() && !scope.sizes;
            is_enabled(rule) && abort_days(rule).is_some() && covers
        };
        if !present.iter().any(|rule| aborts(&rule)) {
            differences.push(format!("no rule removes unfinished uploads under {}", place(wanted)));
        }
    }
    differences.extend(own.iter().flat_map(|rule| own_differences(wanted, rule)));
    let rest = || present.iter().filter(|rule| !own.contains(rule));
    let former = rest().filter(|rule| wanted.is_former(rule)).filter_map(LifecycleRule::id);
    differences.extend(former.map(|id| format!("{id} still exists, although {} replaces it", wanted.id)));
    let others = rest().filter(|rule| is_enabled(rule) && RuleScope::of(rule).touches(&wanted.prefix, tags));
    differences.extend(others.flat_map(|rule| harm(wanted, rule)));
    differences
}

fn place(wanted: &RetentionRule) -> &str {
    if wanted.prefix.is_empty() { "the whole bucket" } else { &wanted.prefix }
}

/// Returns how another rule affects backups before their retention time ends.
fn harm(wanted: &RetentionRule, rule: &LifecycleRule) -> Vec<String> {
    let name = rule.id().map_or_else(|| "a rule without an id".to_owned(), |id| format!("rule {id}"));
    let scope = RuleScope::of(rule).shown();
    let is_early = |number: i32| i64::from(number) < i64::from(wanted.days);
    let kept = format!("backups are kept for {}", days(wanted.days));
    let mut harm = Vec::new();
    if let Some(found) = rule.expiration()
        && (found.days().is_some_and(is_early) || found.date().is_some())
    {
        let when = expiration(Some(found));
        harm.push(format!("{name} expires objects {when}, applying to {scope}; {kept}"));
    }
    if let Some(found) = rule.noncurrent_version_expiration().filter(|_| wanted.versioned)
        && found.noncurrent_days().is_some_and(is_early)
    {
        let when = days(found.noncurrent_days().unwrap_or_default());
        harm.push(format!("{name} expires former versions after {when}, applying to {scope}; {kept}"));
    }
    for transition in rule.transitions() {
        let unreadable = matches!(
            transition.storage_class(),
            Some(TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive)
        );
        let class = transition.storage_class().map(TransitionStorageClass::as_str).unwrap_or_default();
        if unreadable && transition.days().is_none_or(is_early) {
            harm.push(format!(
                "{name} moves objects to {class}, applying to {scope}; they cannot be read there"
            ));
        }
    }
    harm
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleRuleAndOperator, LifecycleRuleFilter, Transition};

    use super::super::rule::tests::{other, wanted};
    use super::*;

    fn told(wanted: &RetentionRule, rules: &[LifecycleRule]) -> Vec<String> {
        differences(wanted, &[("team".to_owned(), "db".to_owned())], rules)
    }

    /// Returns the rule that is added to a bucket without rules.
    fn own(wanted: &RetentionRule) -> LifecycleRule {
        wanted.merged(&[]).rules.remove(0)
    }

    #[test]
    fn a_bucket_with_the_rule_has_no_differences() {
        let versioned = RetentionRule { versioned: true, ..wanted(7) };
        assert_eq!(told(&versioned, &[own(&versioned)]), [""; 0]);
        // A rule that expires versions is correct for a bucket without versions.
        assert_eq!(told(&wanted(7), &[own(&versioned)]), [""; 0]);
    }

    #[test]
    fn every_setting_of_the_own_rule_is_compared() {
        let versioned = RetentionRule { versioned: true, ..wanted(7) };
        let mut rule = other("pg-backup-7d", "hetzner/", 30);
        rule.status = ExpirationStatus::Disabled;
        rule.transitions = Some(vec![Transition::builder().days(1).build()]);
        assert_eq!(
            told(&versioned, &[rule.clone()]),
            [
                "pg-backup-7d is disabled instead of enabled",
                "pg-backup-7d applies to hetzner/ instead of hetzner-prod/",
                "pg-backup-7d expires backups after 30 days instead of after 7 days",
                "pg-backup-7d removes unfinished uploads never instead of after 1 day",
                "pg-backup-7d expires former versions never instead of after 7 days",
                "pg-backup-7d moves objects to other storage classes",
            ]
        );
        rule.expiration = None;
        assert!(told(&wanted(7), &[rule])[2].contains("expires backups never"));
    }

    #[test]
    fn what_apply_would_remove_is_a_difference() {
        let both = [own(&wanted(7)), own(&wanted(30))];
        let expected = "pg-backup-30d still exists, although pg-backup-7d replaces it";
        assert_eq!(told(&wanted(7), &both), [expected]);
    }

    #[test]
    fn the_id_of_an_earlier_version_is_ours() {
        let mut earlier = own(&wanted(7));
        earlier.id = Some("schemastack-backups-7d".to_owned());
        assert_eq!(told(&wanted(7), std::slice::from_ref(&earlier)), [""; 0]);
        assert_eq!(
            told(&wanted(7), &[own(&wanted(7)), earlier.clone()]),
            ["schemastack-backups-7d still exists, although pg-backup-7d replaces it"]
        );
        earlier.status = ExpirationStatus::Disabled;
        assert_eq!(told(&wanted(7), &[earlier]), ["schemastack-backups-7d is disabled instead of enabled"]);
    }

    #[test]
    fn an_empty_bucket_lacks_both_rules() {
        assert_eq!(
            told(&wanted(7), &[]),
            ["pg-backup-7d is missing", "no rule removes unfinished uploads under hetzner-prod/"]
        );
    }

    #[test]
    fn other_rules_count_where_they_touch_backups_before_their_time() {
        let all = |others: &[LifecycleRule]| told(&wanted(7), &[&[own(&wanted(7))], others].concat());
        for harmless in [other("a", "logs/", 1), other("b", "hetzner-prod-2/", 1), other("c", "", 7)] {
            assert_eq!(all(&[harmless]), [""; 0]);
        }
        for harmful in [other("x", "", 3), other("x", "hetzner", 3), other("x", "hetzner-prod/demo/", 3)] {
            let told = all(&[harmful]);
            assert!(
                told.len() == 1 && told[0].starts_with("rule x expires objects after 3 days, "),
                "{told:?}"
            );
        }
        let mut disabled = other("x", "", 3);
        disabled.status = ExpirationStatus::Disabled;
        assert_eq!(all(&[disabled]), [""; 0]);
        let mut archived = other("x", "", 30);
        archived.transitions =
            Some(vec![Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build()]);
        assert_eq!(
            all(&[archived]),
            ["rule x moves objects to GLACIER, applying to the whole bucket; they cannot be read there"]
        );
    }

    #[test]
    fn a_rule_for_tagged_objects_counts_where_backups_have_the_tags() {
        let tagged = |key: &str, value: &str| {
            let tag = Tag::builder().key(key).value(value).build().unwrap();
            let and = LifecycleRuleAndOperator::builder().prefix("hetzner-prod/").tags(tag).build();
            let mut rule = other("x", "", 1);
            rule.filter = Some(LifecycleRuleFilter::builder().and(and).build());
            told(&wanted(7), &[own(&wanted(7)), rule])
        };
        assert_eq!(tagged("team", "web"), [""; 0]);
        assert_eq!(
            tagged("team", "db"),
            [
                "rule x expires objects after 1 day, applying to hetzner-prod/, but only to objects tagged team=db; \
                 backups are kept for 7 days"
            ]
        );
    }
}
