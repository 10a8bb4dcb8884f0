//! The rule by which a bucket removes backups after their retention time. The other rules of the bucket stay
//! unchanged: only the rule with our id is replaced.
//!
//! An id derived from the days ([`RetentionRule::for_days`]) changes with them. A rule with such an id for
//! other days and the same prefix is the previous version of ours and is removed when the new one is added;
//! otherwise the shorter time would still apply. The same applies to the ids of earlier versions of pg-backup.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration,
};
use serde::Serialize;

use super::compare::{RuleScope, own_differences};

/// Days after which the parts of an unfinished upload are removed. No upload takes that long.
pub(super) const ABORT_DAYS: u32 = 1;

/// Prefix and suffix of an id derived from the days.
const ID: (&str, &str) = ("pg-backup-", "d");

/// Prefix of such an id in earlier versions of pg-backup.
const EARLIER_ID: &str = "schemastack-backups-";

/// The rule that backups need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// Id of the rule.
    pub id: String,
    /// Prefix of the keys to which the rule applies; the whole bucket if empty.
    pub prefix: String,
    /// Days after which a backup expires. With versioning, a noncurrent version is removed after the same
    /// number of days again.
    pub days: u32,
    /// Whether versioning of the bucket is or was enabled.
    pub versioned: bool,
}

/// The rules of a bucket, including ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// All rules; the others are unchanged.
    pub rules: Vec<LifecycleRule>,
    /// The changes in words; empty if the bucket already has our rule.
    pub changes: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuleView<'a> {
    rules: [ShownRule<'a>; 1],
}

/// The rule in the terms of S3's API, which `aws s3api` shares.
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

/// Converts days to the API's type.
fn signed(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}

impl RetentionRule {
    /// Returns the default id for a number of days.
    pub fn for_days(days: u32) -> String {
        format!("{}{days}{}", ID.0, ID.1)
    }

    /// Returns the input for `aws s3api put-bucket-lifecycle-configuration`.
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

    /// Returns the days after which a noncurrent version is removed; `None` without versioning.
    pub fn noncurrent_days(&self) -> Option<u32> {
        self.versioned.then_some(self.days)
    }

    /// Returns the days after which an unfinished upload is removed.
    pub fn abort_days(&self) -> u32 {
        ABORT_DAYS
    }

    /// Returns the bucket's rules that expire backups as this one: those with its id, or else those with its
    /// id in earlier versions of pg-backup.
    pub(super) fn own<'a>(&self, present: &'a [LifecycleRule]) -> Vec<&'a LifecycleRule> {
        let this: Vec<_> = present.iter().filter(|rule| self.is_this(rule)).collect();
        let is_earlier = |rule: &&LifecycleRule| {
            let has_id = rule.id().and_then(earlier_days) == Some(self.days);
            has_id && self.is_former(rule)
        };
        if this.is_empty() { present.iter().filter(is_earlier).collect() } else { this }
    }

    /// Returns the id that the rule has in the bucket.
    pub fn id_in<'a>(&'a self, present: &'a [LifecycleRule]) -> &'a str {
        self.own(present).first().and_then(|rule| rule.id()).unwrap_or(&self.id)
    }

    /// Returns whether a bucket's rule has this id, or is a previous version of ours.
    pub(super) fn is_ours(&self, rule: &LifecycleRule) -> bool {
        self.is_this(rule) || self.is_former(rule)
    }

    pub(super) fn is_this(&self, rule: &LifecycleRule) -> bool {
        rule.id() == Some(self.id.as_str())
    }

    pub(super) fn is_former(&self, rule: &LifecycleRule) -> bool {
        let Some(id) = rule.id().filter(|id| *id != self.id) else { return false };
        let follows = self.id == Self::for_days(self.days);
        let is_derived = days_after(ID.0, id).is_some() || earlier_days(id).is_some();
        follows && is_derived && RuleScope::of(rule).prefix == self.prefix
    }

    /// Converts the rule to the API's type. `by_filter` sets the prefix in a filter instead of in the rule
    /// itself.
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

    /// Adds the rule to the rules of a bucket, at the position of its previous version.
    pub fn merged(&self, present: &[LifecycleRule]) -> Merged {
        // Rules in the form of 2015, with a prefix of their own, cannot be combined with rules that have a
        // filter.
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
                changes.push(format!("removed: {id}, which {} replaces", self.id));
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

/// Returns the days in an id that is derived from them.
fn days_after(prefix: &str, id: &str) -> Option<u32> {
    id.strip_prefix(prefix)?.strip_suffix(ID.1)?.parse().ok()
}

fn earlier_days(id: &str) -> Option<u32> {
    days_after(EARLIER_ID, id)
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

    /// Returns a rule that is not ours.
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
        assert_eq!(added.changes, ["added: pg-backup-7d"]);
        let before = [logs.clone(), other("pg-backup-7d", "hetzner-prod/", 30), site.clone()];
        let changed = wanted(7).merged(&before);
        assert_eq!(changed.rules, [logs, wanted(7).rule(true), site]);
        assert_eq!(changed.changes.len(), 2, "{:?}", changed.changes);
        let again = wanted(7).merged(&changed.rules);
        assert_eq!((again.rules, again.changes), (changed.rules, vec![]));
    }

    #[test]
    fn the_rule_for_other_days_goes_when_the_new_one_comes() {
        let before = [wanted(7).rule(true), other("pg-backup-3d", "elsewhere/", 3)];
        let merged = wanted(14).merged(&before);
        assert_eq!(merged.rules, [wanted(14).rule(true), before[1].clone()]);
        assert_eq!(
            merged.changes,
            ["removed: pg-backup-7d, which pg-backup-14d replaces", "added: pg-backup-14d"]
        );
        // A custom id does not identify other rules as ours.
        let named = RetentionRule { id: "mine".to_owned(), ..wanted(14) };
        assert_eq!(named.merged(&before).rules.len(), 3);
    }

    #[test]
    fn a_rule_with_the_id_of_an_earlier_version_is_replaced() {
        let earlier = RetentionRule { id: "schemastack-backups-7d".to_owned(), ..wanted(7) }.rule(true);
        let logs = other("logs", "logs/", 3);
        for days in [7, 14] {
            let merged = wanted(days).merged(&[earlier.clone(), logs.clone()]);
            assert_eq!(merged.rules, [wanted(days).rule(true), logs.clone()]);
            assert_eq!(
                merged.changes,
                [
                    format!("removed: schemastack-backups-7d, which pg-backup-{days}d replaces"),
                    format!("added: pg-backup-{days}d")
                ]
            );
        }
        // Another sidecar has its backups in the same bucket.
        let elsewhere = other("schemastack-backups-7d", "elsewhere/", 7);
        assert_eq!(wanted(7).merged(&[elsewhere]).rules.len(), 2);
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
