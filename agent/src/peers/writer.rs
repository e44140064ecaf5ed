//! The writer of shared call names: retries until the table has what other agents need.
//!
//! An outage may last for hours, so what waits is bounded: one update for each user, conference and direction, the latest. Counts only
//! grow, so that a late write of an old count does no harm.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use shared::event::Direction;
use shared::random::Random;
use shared::tables::LegItem;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::calls::UserGuid;
use crate::host::backoff::Backoff;
use crate::host::concurrency::Concurrency;

/// Updates that wait. Beyond that the oldest are given up; another agent then learns of those calls from the events alone.
const WAITING: usize = 20_000;
/// Writes that may be on their way at once, at first and at most.
const AT_ONCE: Concurrency = Concurrency::new(8, 64);

#[derive(Clone, Debug)]
pub(crate) struct NameUpdate {
    pub pbx_id: Arc<str>,
    pub user: UserGuid,
    pub item: LegItem,
}

/// What an update is about.
type LegKey = (UserGuid, String, Direction);

impl NameUpdate {
    fn key(&self) -> LegKey {
        (self.user.clone(), self.item.conference.clone(), self.item.direction)
    }
}

#[derive(Debug)]
pub(crate) struct NameWriter<W> {
    write: W,
    backoff: Backoff,
    at_once: Concurrency,
    /// In the order in which they came.
    order: VecDeque<LegKey>,
    waiting: HashMap<LegKey, NameUpdate>,
    given_up: u64,
}

impl<W, F, E> NameWriter<W>
where
    W: Fn(NameUpdate) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    pub(crate) fn new(write: W, random: Random) -> Self {
        let backoff = Backoff::new(random);
        Self { write, backoff, at_once: AT_ONCE, order: VecDeque::new(), waiting: HashMap::new(), given_up: 0 }
    }

    /// Writes until nobody brings updates any more and all are written.
    pub(crate) async fn run(mut self, mut updates: mpsc::UnboundedReceiver<NameUpdate>) {
        let mut writing = FuturesUnordered::new();
        let (mut open, mut again_at) = (true, Instant::now());
        while open || !self.waiting.is_empty() || !writing.is_empty() {
            tokio::select! {
                biased;
                Some((update, written, took)) = writing.next(), if !writing.is_empty() => match written {
                    Ok(()) => {
                        self.backoff.reset();
                        self.at_once.succeeded(took, self.waiting.len());
                        self.report();
                    }
                    Err(error) => {
                        self.put_back(update);
                        if again_at <= Instant::now() {
                            self.at_once.failed();
                            again_at = Instant::now() + self.backoff.pause();
                            warn!(waiting = self.waiting.len(), "Other agents hear of calls later: {error}");
                        }
                    }
                },
                () = sleep_until(again_at), if !self.waiting.is_empty() && writing.len() < self.at_once.limit() => {
                    if let Some(update) = self.next() {
                        let (written, begun) = ((self.write)(update.clone()), Instant::now());
                        writing.push(async move { (update, written.await, begun.elapsed()) });
                    }
                }
                update = updates.recv(), if open => match update {
                    Some(update) => self.add(update),
                    None => open = false,
                },
            }
        }
    }

    fn add(&mut self, update: NameUpdate) {
        let key = update.key();
        if self.waiting.insert(key.clone(), update).is_none() {
            self.order.push_back(key);
        }
        if self.waiting.len() > WAITING && self.next().is_some() {
            self.given_up += 1;
        }
    }

    /// An update that could not be written waits again, unless a later one about the same has come.
    fn put_back(&mut self, update: NameUpdate) {
        let key = update.key();
        if !self.waiting.contains_key(&key) {
            self.order.push_front(key.clone());
            self.waiting.insert(key, update);
        }
    }

    fn next(&mut self) -> Option<NameUpdate> {
        let key = self.order.pop_front()?;
        self.waiting.remove(&key)
    }

    fn report(&mut self) {
        if self.given_up > 0 && self.waiting.is_empty() {
            warn!(given_up = self.given_up, "Other agents did not hear of all calls: too many waited");
            self.given_up = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    fn update(conference: u64, ended: u32) -> NameUpdate {
        let item = LegItem {
            conference: format!("{conference:032x}"),
            direction: Direction::Incoming,
            ended,
            live: None,
            begun: Vec::new(),
            last_ended: None,
            last_ended_at: None,
            expires_at: 0,
        };
        NameUpdate { pbx_id: "master".into(), user: "u".into(), item }
    }

    /// A table that can be out of reach, and what was written into it.
    #[derive(Debug, Default)]
    struct Table {
        away: AtomicBool,
        written: Mutex<Vec<(String, u32)>>,
    }

    impl Table {
        fn writer(self: &Arc<Self>) -> (mpsc::UnboundedSender<NameUpdate>, tokio::task::JoinHandle<()>) {
            let (updates, brought) = mpsc::unbounded_channel();
            let table = self.clone();
            let write = move |update: NameUpdate| {
                let table = table.clone();
                async move {
                    if table.away.load(Ordering::SeqCst) {
                        return Err("the table is out of reach");
                    }
                    table.written.lock().expect("no panic").push((update.item.conference, update.item.ended));
                    Ok(())
                }
            };
            (updates, tokio::spawn(NameWriter::new(write, Random::default()).run(brought)))
        }

        fn written(&self) -> Vec<(String, u32)> {
            self.written.lock().expect("no panic").clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn outage_of_hours_leaves_the_latest_of_each() {
        let table = Arc::new(Table::default());
        table.away.store(true, Ordering::SeqCst);
        let (updates, writer) = table.writer();
        for ended in 1..=3 {
            for conference in 0..100 {
                updates.send(update(conference, ended)).expect("it listens");
            }
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        table.away.store(false, Ordering::SeqCst);
        drop(updates);
        writer.await.expect("it ends when all is written");
        let mut written = table.written();
        written.sort();
        assert_eq!(written.len(), 100);
        assert!(written.iter().all(|(_, ended)| *ended == 3));
    }

    #[test]
    fn nothing_is_kept_of_what_is_written() {
        let write = |_| std::future::ready(Err::<(), _>("nobody asks"));
        let mut writer = NameWriter::new(write, Random::default());
        for n in 0..20_000 {
            writer.add(update(n, 1));
            writer.add(update(n, 2));
            let first = writer.next().expect("it waits");
            // It is refused once, and a later one comes meanwhile for every other.
            if n.is_multiple_of(2) {
                writer.add(update(n, 3));
            }
            writer.put_back(first);
            assert!(writer.next().is_some());
        }
        assert_eq!((writer.order.len(), writer.waiting.len(), writer.given_up), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded() {
        let table = Arc::new(Table::default());
        table.away.store(true, Ordering::SeqCst);
        let (updates, writer) = table.writer();
        let all = WAITING as u64 + 500;
        for conference in 0..all {
            updates.send(update(conference, 1)).expect("it listens");
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        table.away.store(false, Ordering::SeqCst);
        drop(updates);
        writer.await.expect("it ends when all is written");
        let written = table.written();
        assert!((WAITING..=WAITING + AT_ONCE.limit()).contains(&written.len()), "{}", written.len());
        assert!(written.contains(&(format!("{:032x}", all - 1), 1)), "the latest is among them");
    }
}
