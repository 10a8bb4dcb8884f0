//! Decides which connection does which item of a plan next, when several connections restore.
//!
//! An idle connection helps with the table that has the most rows left. It takes rows from the end of the
//! table, so the connection that started the table continues in order, and the table keeps its row order as
//! far as possible.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::plan::{PlanItem, Work};
use crate::archive::toc_file::{FileData, Member};
use crate::pipeline::digest::RowSums;

/// Raw bytes of rows in a range: the connection that started the table takes one range at a time, a helper
/// takes at least one.
const SHARE: u64 = 4 << 20;

/// A part of a table's rows. It consists of whole members, and therefore of whole rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowRange {
    /// The byte range in the object.
    pub(super) object: Range<u64>,
    /// The size of the rows in raw bytes.
    pub(super) raw: u64,
}

/// A table whose rows are being loaded.
#[derive(Debug)]
pub(super) struct TableLoad {
    /// The item's index in the plan.
    pub(super) item: usize,
    /// The first range, which only the connection that started the table takes. A small table is therefore
    /// never shared.
    first: Mutex<Option<RowRange>>,
    shares: Mutex<VecDeque<RowRange>>,
    sums: Mutex<RowSums>,
    is_shared: AtomicBool,
    has_failed: AtomicBool,
}

impl TableLoad {
    fn new(item: usize, data: &FileData, members: &[Member]) -> Self {
        let mut shares = shares(members, data.raw.length);
        TableLoad {
            item,
            first: Mutex::new(shares.pop_front()),
            shares: Mutex::new(shares),
            sums: Mutex::new(RowSums::default()),
            is_shared: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Returns whether other connections helped.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Records that a COPY failed and was skipped, so the rows are incomplete.
    pub(super) fn fail(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Takes the first free range.
    pub(super) fn next_share(&self) -> Option<RowRange> {
        lock(&self.first).take().or_else(|| lock(&self.shares).pop_front())
    }

    /// Takes ranges from the end for a helper. The amount shrinks with the rows that are left: a helper
    /// starts few COPYs, yet all connections of a table finish at nearly the same time.
    fn last_share(&self, connections: usize) -> Option<RowRange> {
        let mut shares = lock(&self.shares);
        let left: u64 = shares.iter().map(|share| share.raw).sum();
        let wanted = left / (2 * connections.max(1) as u64);
        let mut taken = shares.pop_back()?;
        while taken.raw < wanted
            && let Some(before) = shares.pop_back()
        {
            taken = RowRange { object: before.object.start..taken.object.end, raw: before.raw + taken.raw };
        }
        self.is_shared.store(true, Ordering::Relaxed);
        Some(taken)
    }

    /// Returns the raw bytes that a helper could take.
    fn left(&self) -> u64 {
        lock(&self.shares).iter().map(|share| share.raw).sum()
    }

    /// Adds the checksums of loaded rows.
    pub(super) fn add(&self, sums: RowSums) {
        lock(&self.sums).add(sums);
    }

    /// Returns the checksums of all rows so far.
    pub(super) fn sums(&self) -> RowSums {
        *lock(&self.sums)
    }
}

/// Groups members into ranges. Text after the rows in the last member belongs to no range.
fn shares(members: &[Member], mut rows: u64) -> VecDeque<RowRange> {
    let mut shares: VecDeque<RowRange> = VecDeque::new();
    for member in members {
        let raw = member.raw_length.min(rows);
        rows -= raw;
        let end = member.object_offset + member.object_length;
        match shares.back_mut() {
            Some(share) if share.raw < SHARE => {
                share.object.end = end;
                share.raw += raw;
            }
            _ => shares.push_back(RowRange { object: member.object_offset..end, raw }),
        }
    }
    shares
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The work of a connection.
#[derive(Debug)]
pub(super) enum Job {
    /// Run the statements of an item.
    Statements(usize),
    /// Run the text of an item.
    Script(usize),
    /// Load the rows of a table; other connections may take ranges of it in the meantime.
    Rows(Arc<TableLoad>),
    /// Load a range of a table's rows.
    LoadRange(Arc<TableLoad>, RowRange),
}

/// Assigns items to connections.
#[derive(Debug)]
pub(super) struct JobQueue<'a> {
    items: &'a [PlanItem],
    /// For each item, the items that wait for it.
    followers: Vec<Vec<usize>>,
    /// Whether items are done in the order of the plan, because there is only one connection.
    in_order: bool,
    /// Whether several connections may load one table.
    shares_tables: bool,
    connections: usize,
    state: Mutex<JobQueueState>,
    changed: Notify,
}

#[derive(Debug)]
struct JobQueueState {
    /// For each item, the number of items that it waits for.
    waits_for: Vec<usize>,
    /// Items that can run unless a lock blocks them, in order of priority.
    ready: BTreeSet<Rank>,
    /// Items that wait only until all rows are loaded.
    blocked_on_data: Vec<usize>,
    /// The number of items with rows that are not done.
    rows_left: usize,
    running: HashSet<usize>,
    loads: Vec<(Arc<TableLoad>, usize)>,
    done: usize,
}

/// The priority of a ready item: rows first, because everything else waits for some of them; then the
/// largest; then the first in the plan, so its index comes last.
type Rank = (bool, std::cmp::Reverse<u64>, usize);

impl<'a> JobQueue<'a> {
    pub(super) fn new(items: &'a [PlanItem], connections: usize, shares_tables: bool) -> Self {
        let mut followers = vec![Vec::new(); items.len()];
        for (at, item) in items.iter().enumerate() {
            item.after.iter().for_each(|before| followers[*before].push(at));
        }
        let state = JobQueueState {
            waits_for: items.iter().map(|item| item.after.len()).collect(),
            ready: BTreeSet::new(),
            blocked_on_data: Vec::new(),
            rows_left: items.iter().filter(|item| has_rows(item)).count(),
            running: HashSet::new(),
            loads: Vec::new(),
            done: 0,
        };
        let jobs = JobQueue {
            items,
            followers,
            in_order: connections < 2,
            shares_tables: shares_tables && connections > 1,
            connections,
            state: Mutex::new(state),
            changed: Notify::new(),
        };
        let mut state = lock(&jobs.state);
        let free = items.iter().enumerate().filter(|(_, item)| item.after.is_empty());
        free.for_each(|(at, _)| jobs.release(at, &mut state));
        drop(state);
        jobs
    }

    /// Marks an item as ready, or as blocked until all rows are loaded.
    fn release(&self, at: usize, state: &mut JobQueueState) {
        if self.items[at].after_all_rows && state.rows_left > 0 {
            state.blocked_on_data.push(at);
        } else {
            state.ready.insert(self.rank(at));
        }
    }

    fn rank(&self, at: usize) -> Rank {
        let item = &self.items[at];
        match self.in_order {
            true => (false, std::cmp::Reverse(0), at),
            false => (!has_rows(item), std::cmp::Reverse(item.size), at),
        }
    }

    /// Returns the next job; `None` when no jobs are left. `data` returns the position of an item's rows.
    pub(super) async fn next<'m>(
        &self,
        data: impl Fn(&PlanItem) -> Option<(FileData, &'m [Member])>,
    ) -> Option<Job> {
        loop {
            // Register before the check, so that no change between the two is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.next_job(&data) {
                NextJob::Job(job) => return Some(job),
                NextJob::Over => return None,
                NextJob::Wait => changed.await,
            }
        }
    }

    fn next_job<'m>(&self, data: &impl Fn(&PlanItem) -> Option<(FileData, &'m [Member])>) -> NextJob {
        let mut state = lock(&self.state);
        if state.done == self.items.len() {
            return NextJob::Over;
        }
        if let Some(rank) = self.choose(&state) {
            let (.., at) = rank;
            state.ready.remove(&rank);
            state.running.insert(at);
            return NextJob::Job(match self.items[at].work {
                Work::Statements => Job::Statements(at),
                Work::Script => Job::Script(at),
                Work::Rows => match data(&self.items[at]) {
                    Some((rows, members)) => {
                        let load = Arc::new(TableLoad::new(at, &rows, members));
                        state.loads.push((Arc::clone(&load), 1));
                        Job::Rows(load)
                    }
                    None => Job::Statements(at),
                },
            });
        }
        if self.shares_tables
            && let Some((load, helpers)) = state.loads.iter_mut().max_by_key(|(load, _)| load.left())
            && let Some(share) = load.last_share(self.connections)
        {
            *helpers += 1;
            return NextJob::Job(Job::LoadRange(Arc::clone(load), share));
        }
        // Items cannot wait for each other. If they did and none ran, every connection would wait forever.
        if state.running.is_empty() { NextJob::Over } else { NextJob::Wait }
    }

    /// Returns the ready item with the highest priority that no lock blocks.
    fn choose(&self, state: &JobQueueState) -> Option<Rank> {
        state.ready.iter().find(|(.., at)| !self.is_locked(*at, state)).copied()
    }

    /// Returns whether the item and a running one would block each other on a table lock.
    fn is_locked(&self, at: usize, state: &JobQueueState) -> bool {
        let item = &self.items[at];
        state.running.iter().map(|at| &self.items[*at]).any(|other| {
            (item.is_exclusive || other.is_exclusive)
                && item.tables.iter().any(|table| other.tables.contains(table))
        })
    }

    /// Records that a job is done. Returns whether its item is complete: a table is, when its last job is
    /// done.
    pub(super) fn done(&self, job: &Job) -> bool {
        let mut state = lock(&self.state);
        let at = match job {
            Job::Statements(at) | Job::Script(at) => *at,
            Job::Rows(load) | Job::LoadRange(load, _) => {
                let Some(place) = state.loads.iter().position(|(other, _)| Arc::ptr_eq(load, other)) else {
                    return false;
                };
                state.loads[place].1 -= 1;
                if state.loads[place].1 > 0 {
                    return false;
                }
                state.loads.swap_remove(place);
                load.item
            }
        };
        state.running.remove(&at);
        state.done += 1;
        if has_rows(&self.items[at]) {
            state.rows_left -= 1;
            if state.rows_left == 0 {
                let blocked_on_data = std::mem::take(&mut state.blocked_on_data);
                blocked_on_data.into_iter().for_each(|at| self.release(at, &mut state));
            }
        }
        for follower in &self.followers[at] {
            state.waits_for[*follower] -= 1;
            if state.waits_for[*follower] == 0 {
                self.release(*follower, &mut state);
            }
        }
        self.changed.notify_waiters();
        true
    }

    /// Returns the number of items that are not done.
    pub(super) fn left(&self) -> usize {
        self.items.len() - lock(&self.state).done
    }

    /// Returns whether all rows are loaded.
    pub(super) fn is_past_data(&self) -> bool {
        lock(&self.state).rows_left == 0
    }
}

fn has_rows(item: &PlanItem) -> bool {
    item.work != Work::Statements
}

enum NextJob {
    Job(Job),
    Wait,
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::toc_file::{DataFormat, RawSpan};

    fn item(work: Work, size: u64, after: &[usize], tables: &[u32], is_exclusive: bool) -> PlanItem {
        let (after, tables) = (after.to_vec(), tables.to_vec());
        PlanItem { index: 0, work, size, after, after_all_rows: false, tables, is_exclusive }
    }

    /// A table's rows: `number` members of 1 MiB, compressed ten to one.
    fn members(number: u64) -> Vec<Member> {
        (0..number).map(|at| Member::from([at * 100, 100, at << 20, 1 << 20, 1])).collect()
    }

    fn rows(members: &[Member]) -> FileData {
        let length = members.iter().map(|member| member.raw_length).sum::<u64>().saturating_sub(10);
        let raw = RawSpan { offset: 0, length };
        FileData { format: DataFormat::Copy, raw, members: (0, members.len() as u64), rows: 1, digest: None }
    }

    #[test]
    fn rows_are_shared_in_whole_members_and_end_where_they_end() {
        let members = members(20);
        let load = TableLoad::new(0, &rows(&members), &members);
        let first = load.next_share().unwrap();
        assert_eq!(first, RowRange { object: 0..400, raw: 4 << 20 });
        let last = load.last_share(3).unwrap();
        assert_eq!(last, RowRange { object: 1600..2000, raw: (4 << 20) - 10 });
        assert!(load.is_shared());
        // A single helper takes half of the 12 MiB, in whole ranges.
        let next_to_last = load.last_share(1).unwrap();
        assert_eq!(next_to_last, RowRange { object: 800..1600, raw: 8 << 20 });
        assert_eq!(load.left(), 4 << 20);
    }

    /// Lets one connection do all jobs, and returns the items in their order.
    async fn order(items: &[PlanItem], connections: usize) -> Vec<usize> {
        let jobs = JobQueue::new(items, connections, true);
        let members = members(1);
        let mut order = Vec::new();
        while let Some(job) = jobs.next(|_| Some((rows(&members), &members))).await {
            order.push(match &job {
                Job::Statements(at) | Job::Script(at) => *at,
                Job::Rows(load) => {
                    while load.next_share().is_some() {}
                    load.item
                }
                Job::LoadRange(..) => panic!("nobody needs help"),
            });
            jobs.done(&job);
        }
        assert_eq!(jobs.left(), 0);
        order
    }

    #[tokio::test]
    async fn one_connection_keeps_the_order_and_several_begin_with_the_largest_rows() {
        let items = [
            item(Work::Rows, 10, &[], &[1], false),
            item(Work::Statements, 0, &[], &[], false),
            item(Work::Rows, 20, &[], &[2], false),
            item(Work::Statements, 10, &[0], &[1], false),
            item(Work::Statements, 20, &[2], &[2], true),
            item(Work::Statements, 5, &[0, 2], &[1, 2], true),
        ];
        assert_eq!(order(&items, 1).await, [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(&items, 2).await, [2, 0, 4, 3, 5, 1]);
    }

    #[tokio::test]
    async fn what_locks_the_same_table_waits_and_what_only_reads_it_does_not() {
        let index = || item(Work::Statements, 1, &[], &[1], false);
        let items = [
            index(),
            index(),
            item(Work::Statements, 0, &[], &[1], true),
            item(Work::Statements, 0, &[], &[2], true),
        ];
        let jobs = JobQueue::new(&items, 4, true);
        let next = async || jobs.next(|_| None).await.unwrap();
        let (first, second, third) = (next().await, next().await, next().await);
        assert!(matches!(
            (&first, &second, &third),
            (Job::Statements(0), Job::Statements(1), Job::Statements(3))
        ));
        assert!(matches!(jobs.next_job(&|_| None), NextJob::Wait));
        jobs.done(&first);
        assert!(matches!(jobs.next_job(&|_| None), NextJob::Wait));
        jobs.done(&second);
        assert!(matches!(next().await, Job::Statements(2)));
    }

    #[test]
    fn a_small_table_is_left_to_who_began_it() {
        let members = members(4);
        let load = TableLoad::new(0, &rows(&members), &members);
        assert_eq!(load.last_share(2), None);
        assert!(!load.is_shared());
        assert_eq!(load.next_share().unwrap().object, 0..400);
    }

    #[tokio::test]
    async fn an_idle_connection_helps_with_the_table_that_has_most_left() {
        let (large, small) = (members(64), members(20));
        let items = [item(Work::Rows, 64, &[], &[1], false), item(Work::Rows, 20, &[], &[2], false)];
        let jobs = JobQueue::new(&items, 3, true);
        let data = |item: &PlanItem| {
            let members = if item.size == 64 { &large } else { &small };
            Some((rows(members), &members[..]))
        };
        let (own, other) = (jobs.next(data).await.unwrap(), jobs.next(data).await.unwrap());
        let help = jobs.next(data).await.unwrap();
        let Job::LoadRange(load, share) = &help else { panic!("{help:?}") };
        assert_eq!((load.item, share.object.clone()), (0, 5200..6400));
        // The table is complete when its last connection is done.
        assert!(!jobs.done(&own));
        assert!(jobs.done(&help));
        assert!(jobs.done(&other));
    }

    #[tokio::test]
    async fn what_waits_for_all_rows_comes_after_the_last() {
        let behind = PlanItem { after_all_rows: true, ..item(Work::Statements, 100, &[0], &[1], true) };
        let index = item(Work::Statements, 10, &[0], &[1], false);
        let items =
            [item(Work::Rows, 10, &[], &[1], false), behind, index, item(Work::Rows, 5, &[], &[2], false)];
        // The item is the largest, and still comes after the smallest rows.
        assert_eq!(order(&items, 2).await, [0, 3, 1, 2]);
        let items = [item(Work::Rows, 10, &[], &[1], false), item(Work::Statements, 10, &[0], &[1], false)];
        assert_eq!(order(&items, 2).await, [0, 1]);
    }

    /// A large catalog: work for each pair of items would make this test too slow.
    #[tokio::test]
    async fn a_hundred_thousand_items_are_ordered_at_once() {
        let rows = (0..50_000).map(|_| item(Work::Rows, 1, &[], &[], false));
        let keys = (0..50_000).map(|at| PlanItem {
            after_all_rows: true,
            ..item(Work::Statements, 1, &[at], &[at as u32], true)
        });
        let items: Vec<PlanItem> = rows.chain(keys).collect();
        assert_eq!(order(&items, 2).await.len(), 100_000);
    }

    #[tokio::test]
    async fn items_that_wait_for_each_other_end_the_work() {
        let items =
            [item(Work::Statements, 0, &[1], &[], false), item(Work::Statements, 0, &[0], &[], false)];
        let jobs = JobQueue::new(&items, 2, true);
        assert!(jobs.next(|_| None).await.is_none());
        assert_eq!(jobs.left(), 2);
    }
}
