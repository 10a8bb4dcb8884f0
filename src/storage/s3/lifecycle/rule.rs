//! The rule under which a bucket removes backups that have served their time, and what it makes of a bucket's other rules:
//! nothing. Only the rule of our id is replaced.
//!
//! An id that follows from the days ([`RetentionRule::for_days`]) changes with them. A rule with such an id for other days and the
//! same prefix is the former one of ours, and goes when the new one comes; else the shorter time would go on to count.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration,
};
use serde::Serialize;

use super::compare::{RuleScope, own_differences};

/// Days after which the parts of an upload that was neither completed nor aborted are removed. None takes so long.
pub(super) const ABORT_DAYS: u32 = 1;

/// What an id begins and ends with that follows from the days.
const ID: (&str, &str) = ("schemastack-backups-", "d");

/// The rule that backups want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// Its id.
    pub id: String,
    /// What it applies to: the keys that begin so. All of the bucket when empty.
    pub prefix: String,
    /// Days that a backup stays, and then for as long again its former versions where the bucket has any.
    pub days: u32,
    /// Whether the bucket has versions.
    pub versioned: bool,
}

/// A bucket's rules with ours among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// All rules, the others as they were.
    pub rules: Vec<LifecycleRule>,
    /// What differs from before, in words; nothing when ours was there already.
    pub changes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuleView<'a> {
    rules: [ShownRule<'a>; 1],
}

/// The rule in the words of S3's API, which `aws s3api` shares.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownRule<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    status: &'static str,
    filter: ShownFilter<'a>,
    expiration: ShownExpiration,
    #[serde(skip_serializing_if = "Option::is_none")]
    noncurrent_version_expiration: Option<ShownNoncurrent>,
    abort_incomplete_multipart_upload: ShownAbort,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownFilter<'a> {
    prefix: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownExpiration {
    days: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownNoncurrent {
    noncurrent_days: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownAbort {
    days_after_initiation: u32,
}

/// Days as the API counts them.
fn signed(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}

impl RetentionRule {
    /// The id of a rule that says nothing else.
    pub fn for_days(days: u32) -> String {
        format!("{}{days}{}", ID.0, ID.1)
    }

    /// What `aws s3api put-bucket-lifecycle-configuration` takes.
    pub fn to_json(&self) -> impl Serialize + '_ {
        RuleView {
            rules: [ShownRule {
                id: &self.id,
                status: "Enabled",
                filter: ShownFilter { prefix: &self.prefix },
                expiration: ShownExpiration { days: self.days },
                noncurrent_version_expiration: self
                    .versioned
                    .then_some(ShownNoncurrent { noncurrent_days: self.days }),
                abort_incomplete_multipart_upload: ShownAbort { days_after_initiation: ABORT_DAYS },
            }],
        }
    }

    /// Days after which a former version is removed; none where there are no versions.
    pub fn noncurrent_days(&self) -> Option<u32> {
        self.versioned.then_some(self.days)
    }

    /// Days after which an unfinished upload is removed.
    pub fn abort_days(&self) -> u32 {
        ABORT_DAYS
    }

    /// Whether a bucket's rule is the one of this id, or one of ours for other days.
    pub(super) fn is_ours(&self, rule: &LifecycleRule) -> bool {
        self.is_this(rule) || self.is_former(rule)
    }

    pub(super) fn is_this(&self, rule: &LifecycleRule) -> bool {
        rule.id() == Some(self.id.as_str())
    }

    pub(super) fn is_former(&self, rule: &LifecycleRule) -> bool {
        let days = rule.id().and_then(|id| id.strip_prefix(ID.0)?.strip_suffix(ID.1)?.parse::<u32>().ok());
        let follows = self.id == Self::for_days(self.days);
        follows && days.is_some_and(|days| days != self.days) && RuleScope::of(rule).prefix == self.prefix
    }

    /// The rule as the API takes it; `by_filter` as opposed to a prefix of the rule itself.
    fn rule(&self, by_filter: bool) -> LifecycleRule {
        let filter = LifecycleRuleFilter::builder().prefix(&self.prefix).build();
        let noncurrent = |days| NoncurrentVersionExpiration::builder().noncurrent_days(signed(days)).build();
        let rule = LifecycleRule::builder()
            .id(&self.id)
            .status(ExpirationStatus::Enabled)
            .expiration(LifecycleExpiration::builder().days(signed(self.days)).build())
            .set_noncurrent_version_expiration(self.noncurrent_days().map(noncurrent))
            .abort_incomplete_multipart_upload(
                AbortIncompleteMultipartUpload::builder().days_after_initiation(signed(ABORT_DAYS)).build(),
            );
        #[expect(deprecated, reason = "S3 refuses rules of both forms in one bucket")]
        let rule = if by_filter { rule.filter(filter) } else { rule.prefix(&self.prefix) };
        rule.build().expect("a rule with a status is complete")
    }

    /// Puts the rule among a bucket's, in the place of what it was before.
    pub fn merged(&self, present: &[LifecycleRule]) -> Merged {
        // Rules of the form of 2015 cannot stand beside one with a filter.
        let by_filter = present.iter().all(|rule| self.is_ours(rule) || !RuleScope::of(rule).is_old_form);
        let mut changes = Vec::new();
        let mut rules = Vec::new();
        let is_there = present.iter().any(|rule| self.is_this(rule));
        let mut placed = false;
        for rule in present {
            if !self.is_ours(rule) {
                rules.push(rule.clone());
                continue;
            }
            if self.is_this(rule) {
                let differences = own_differences(self, rule);
                changes.extend(differences.iter().map(|difference| format!("changed: {difference}")));
                if !placed {
                    rules.push(if differences.is_empty() { rule.clone() } else { self.rule(by_filter) });
                }
                placed = true;
            } else {
                let id = rule.id().unwrap_or_default();
                changes.push(format!("removed: {id}, which was the rule before {}", self.id));
                if !is_there && !placed {
                    changes.push(format!("added: {}", self.id));
                    rules.push(self.rule(by_filter));
                    placed = true;
                }
            }
        }
        if !placed {
            changes.push(format!("added: {}", self.id));
            rules.push(self.rule(by_filter));
        }
        Merged { rules, changes }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn wanted(days: u32) -> RetentionRule {
        RetentionRule {
            id: RetentionRule::for_days(days),
            prefix: "hetzner-prod/".to_owned(),
            days,
            versioned: false,
        }
    }

    /// A rule of somebody else.
    pub(in super::super) fn other(id: &str, prefix: &str, days: i32) -> LifecycleRule {
        LifecycleRule::builder()
            .id(id)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .expiration(LifecycleExpiration::builder().days(days).build())
            .build()
            .unwrap()
    }

    #[test]
    fn the_other_rules_stay_as_they_were_and_where_they_were() {
        let (logs, site) = (other("logs", "logs/", 3), other("site", "site/", 30));
        let added = wanted(7).merged(&[logs.clone(), site.clone()]);
        assert_eq!(added.rules, [logs.clone(), site.clone(), wanted(7).rule(true)]);
        assert_eq!(added.changes, ["added: schemastack-backups-7d"]);
        let before = [logs.clone(), other("schemastack-backups-7d", "hetzner-prod/", 30), site.clone()];
        let changed = wanted(7).merged(&before);
        assert_eq!(changed.rules, [logs, wanted(7).rule(true), site]);
        assert_eq!(changed.changes.len(), 2, "{:?}", changed.changes);
        let again = wanted(7).merged(&changed.rules);
        assert_eq!((again.rules, again.changes), (changed.rules, vec![]));
    }

    #[test]
    fn the_rule_for_other_days_goes_when_the_new_one_comes() {
        let before = [wanted(7).rule(true), other("schemastack-backups-3d", "elsewhere/", 3)];
        let merged = wanted(14).merged(&before);
        assert_eq!(merged.rules, [wanted(14).rule(true), before[1].clone()]);
        assert_eq!(
            merged.changes,
            [
                "removed: schemastack-backups-7d, which was the rule before schemastack-backups-14d",
                "added: schemastack-backups-14d"
            ]
        );
        // An id of the operator's own says nothing of other rules.
        let named = RetentionRule { id: "mine".to_owned(), ..wanted(14) };
        assert_eq!(named.merged(&before).rules.len(), 3);
    }

    #[test]
    fn rules_of_the_old_form_get_one_of_the_old_form_beside_them() {
        #[expect(deprecated, reason = "what old buckets have")]
        let old = LifecycleRule::builder().id("old").status(ExpirationStatus::Enabled).prefix("x/").build();
        let merged = wanted(7).merged(&[old.unwrap()]);
        assert!(merged.rules.iter().all(|rule| rule.filter().is_none()), "{merged:?}");
        let again = wanted(7).merged(&merged.rules);
        assert_eq!(again.changes, Vec::<String>::new());
    }
}
