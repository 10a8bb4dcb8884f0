use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

fn s3(max_parts: u32) -> PartLimits {
    PartLimits { min_size: 5 * MIB, max_size: 5 * GIB, max_parts, max_object: 5 * TIB }
}

#[test]
fn ten_thousand_parts_hold_five_tebibytes_whatever_was_expected() {
    for expected in [None, Some(1), Some(GIB), Some(200 * GIB), Some(TIB), Some(5 * TIB), Some(u64::MAX)] {
        let plan = PartPlan::new(s3(10_000), expected);
        assert!(plan.capacity() >= 5 * TIB, "{expected:?} {plan:?}");
        let sizes: Vec<u64> = (1..=10_000).map(|number| plan.size(number)).collect();
        assert!(sizes.iter().all(|size| (5 * MIB..=5 * GIB).contains(size)), "{plan:?}");
        assert!(sizes.is_sorted());
    }
}

#[test]
fn small_dumps_have_small_parts_and_expected_ones_stay_flat() {
    let plan = PartPlan::new(s3(10_000), None);
    assert_eq!(plan.part_size_at(1), 5 * MIB);
    assert_eq!(plan.part_size_at(9 * GIB), 5 * MIB);
    assert!(plan.part_size_at(100 * GIB) < 90 * MIB, "{}", plan.part_size_at(100 * GIB));
    let plan = PartPlan::new(s3(10_000), Some(200 * GIB));
    assert!(plan.part_size_at(200 * GIB) < 28 * MIB, "{}", plan.part_size_at(200 * GIB));
}

#[test]
fn a_store_of_few_parts_holds_what_it_can() {
    let plan = PartPlan::new(s3(1000), None);
    assert!(plan.capacity() > TIB, "{}", plan.capacity());
    let plan = PartPlan::new(s3(1), Some(GIB));
    assert_eq!(plan.size(1), GIB);
}

#[test]
fn parts_under_way_keep_to_the_budget() {
    let options = UploadOptions { budget: 24 * MIB, parallel: 4, expected_size: None };
    assert_eq!(parallel_parts(&options, 5 * MIB), 3);
    assert_eq!(parallel_parts(&options, MIB), 4);
    assert_eq!(parallel_parts(&options, 100 * MIB), 1);
}

#[test]
fn a_database_of_known_size_has_parts_that_hold_a_third_of_it() {
    let options = UploadOptions::within(256 * MIB).for_database(Some(600 * GIB));
    assert_eq!((options.budget, options.expected_size), (96 * MIB, Some(200 * GIB)));
    let plan = PartPlan::new(s3(10_000), options.expected_size);
    // 7,500 parts of one size, and the last quarter as a reserve for an object larger than expected.
    let size = (200 * GIB).div_ceil(7_500).next_multiple_of(64 << 10);
    assert_eq!((plan.size(1), plan.size(7_500)), (size, size));
    assert!(plan.size(7_501) >= size && plan.size(10_000) > 10 * size);
    assert_eq!(parallel_parts(&options, size), 2);
    assert_eq!(options.beyond_budget(s3(10_000)), None);
    let small = UploadOptions::within(64 * MIB).for_database(Some(600 * GIB));
    assert_eq!(small.beyond_budget(s3(10_000)), Some(2 * size));
    assert_eq!(small.for_database(None).beyond_budget(s3(10_000)), None);
    assert!(s3(10_000).are_tight() && !PartLimits { max_parts: 1 << 20, ..s3(1) }.are_tight());
}

#[test]
fn the_documented_table_is_what_the_plan_gives() {
    let documented = include_str!("../../docs/archive-format.md");
    let shown = |bytes: u64| match bytes.div_ceil(MIB) {
        mib if mib < 1024 => format!("{mib} MiB"),
        mib => {
            let tenths = (mib * 10).div_ceil(1024);
            format!("{}.{} GiB", tenths / 10, tenths % 10)
        }
    };
    for size in [GIB, 10 * GIB, 36 * GIB, 50 * GIB, 100 * GIB, 200 * GIB, 500 * GIB, TIB, 2 * TIB, 5 * TIB] {
        let costs = [Some(size), None].map(|expected| {
            let part = PartPlan::new(s3(10_000), expected).part_size_at(size);
            let parallel = parallel_parts(&UploadOptions::default(), part) as u64;
            format!("{} | {}", shown(part), shown((parallel + 1) * part))
        });
        let row = format!("| {} | {} |", shown_size(size), costs.join(" | "));
        assert!(documented.contains(&row), "docs/archive-format.md lacks the row\n{row}");
    }
}

fn shown_size(size: u64) -> String {
    if size < TIB { format!("{} GiB", size / GIB) } else { format!("{} TiB", size / TIB) }
}
