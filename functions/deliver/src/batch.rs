//! The records of a batch: those of a group one after the other, the groups side by side, so that no receiver waits for another one.
//!
//! Lambda deletes what is finished when the whole batch is, and until then the queue hands out nothing more of its groups. So what is
//! finished is deleted earlier while a slow receiver holds up the rest.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use shared::queue::{FifoRecord, GoingBack};
use tokio::time::sleep;
use tracing::error;

/// A batch that is done in this time needs no deletes of its own. Then, and as often again, what is finished is deleted.
const DELETE_EVERY: Duration = Duration::from_millis(500);

/// What is to become of a record in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Acknowledged,
    Back(Duration),
    /// Another receiver has it meanwhile.
    Left,
}

/// Deals with all records; `take` with one of them, and `delete` with those that are finished before the batch is. A panic over a
/// record is its failure alone.
pub(crate) async fn deal<T, D>(
    records: &[FifoRecord],
    take: impl Fn(usize) -> T,
    after_panic: impl Fn(&FifoRecord) -> Duration,
    delete: impl Fn(Vec<String>) -> D,
) -> GoingBack
where
    T: Future<Output = Ending>,
    D: Future<Output = ()>,
{
    let endings: Mutex<Vec<Option<Ending>>> = Mutex::new(vec![None; records.len()]);
    let note = |at: usize, ending| endings.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(ending);
    let (take, after_panic, note) = (&take, &after_panic, &note);
    let work = join_all(groups(records).into_iter().map(|group| async move {
        for at in group {
            let ending = AssertUnwindSafe(take(at)).catch_unwind().await.unwrap_or_else(|_| {
                error!(message.id = records[at].id, "A record brought the function to a panic");
                Ending::Back(after_panic(&records[at]))
            });
            note(at, ending);
            if ending != Ending::Acknowledged {
                break; // What stands behind it goes back untouched.
            }
        }
    }));
    // Ends with the work: what is not deleted by then is deleted by Lambda.
    let deletes = async {
        let mut left: Vec<usize> = (0..records.len()).collect();
        loop {
            sleep(DELETE_EVERY).await;
            let finished: Vec<usize> = {
                let endings = endings.lock().unwrap_or_else(PoisonError::into_inner);
                left.extract_if(.., |at| endings[*at] == Some(Ending::Acknowledged)).collect()
            };
            if !finished.is_empty() {
                delete(finished.into_iter().map(|at| records[at].receipt.clone()).collect()).await;
            }
        }
    };
    tokio::select! {
        biased;
        _ = work => {}
        () = deletes => {}
    }
    let endings = endings.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut back = GoingBack::default();
    for (record, ending) in records.iter().zip(endings) {
        match ending {
            Some(Ending::Acknowledged) => {}
            Some(Ending::Back(delay)) => back.push(record, delay),
            Some(Ending::Left) => back.leave(record),
            None => back.push(record, Duration::ZERO),
        }
    }
    back
}

/// The places of the records of each group, in their order.
fn groups(records: &[FifoRecord]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        match groups.iter_mut().find(|group| records[group[0]].group == record.group) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    fn records(groups: &[&str]) -> Vec<FifoRecord> {
        let record = |(n, group): (usize, &&str)| FifoRecord {
            id: n.to_string(),
            receipt: format!("receipt {n}"),
            group: (*group).to_owned(),
            sent_at: None,
            queue: None,
            receives: 1,
        };
        groups.iter().enumerate().map(record).collect()
    }

    /// Each record takes so many milliseconds, and what it ends with; returns what goes back and when what was deleted.
    async fn dealt(groups: &[&str], endings: &[(u64, Ending)]) -> (Vec<(String, u64)>, Vec<(u64, String)>, u64) {
        let (records, began, deletes) = (records(groups), Instant::now(), RefCell::new(Vec::new()));
        let since = || began.elapsed().as_millis() as u64;
        let back = deal(
            &records,
            |at| async move {
                let (took, ending) = endings[at];
                sleep(Duration::from_millis(took)).await;
                assert!(took != 7, "a panic");
                ending
            },
            |_| Duration::from_secs(9),
            |receipts| {
                deletes.borrow_mut().extend(receipts.into_iter().map(|receipt| (since(), receipt)));
                sleep(Duration::from_millis(100))
            },
        )
        .await;
        let delays = back.visibility().iter().map(|(_, delay)| delay.as_secs());
        let back = back.ids().iter().cloned().zip(delays).collect();
        (back, deletes.into_inner(), since())
    }

    const DONE: Ending = Ending::Acknowledged;

    #[tokio::test(start_paused = true)]
    async fn groups_go_side_by_side_and_records_of_a_group_one_after_the_other() {
        let all = [(100, DONE), (100, DONE), (250, DONE)];
        assert_eq!(dealt(&["a", "a", "b"], &all).await, (vec![], vec![], 250));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_finished_is_deleted_while_a_slow_receiver_holds_up_the_rest() {
        let all = [(9_000, DONE), (100, DONE), (700, DONE), (100, Ending::Back(Duration::from_secs(1)))];
        let (back, deletes, took) = dealt(&["a", "b", "b", "c"], &all).await;
        assert_eq!((back, took), (vec![("3".to_owned(), 1)], 9_000));
        assert_eq!(deletes, [(500, "receipt 1".to_owned()), (1_100, "receipt 2".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_stops_at_its_first_failure_and_a_panic_is_one() {
        let all = [(7, DONE), (100, DONE), (100, Ending::Back(Duration::from_secs(2))), (100, DONE), (100, DONE)];
        let (back, _, _) = dealt(&["a", "a", "b", "b", "c"], &all).await;
        let expected = [("0", 9), ("1", 0), ("2", 2), ("3", 0)].map(|(id, delay)| (id.to_owned(), delay));
        assert_eq!(back, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_behind_a_record_of_another_receiver_waits_for_it() {
        let records = records(&["a", "a", "b"]);
        let ending = async |at: usize| if at == 0 { Ending::Left } else { DONE };
        let back = deal(&records, ending, |_| Duration::ZERO, async |_| {}).await;
        assert_eq!(back.ids(), ["0", "1"]);
        assert_eq!(back.visibility(), [("receipt 1".to_owned(), Duration::ZERO)]);
    }
}
