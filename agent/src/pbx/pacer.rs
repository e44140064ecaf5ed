//! Requests of one kind, sent as fast as the PBX answers them, and the request that a result belongs to.
//!
//! A result that names its request by `src` is matched by that. One without `src` belongs to the oldest request of its kind, which is
//! certain only while there is a single one. So one request is outstanding at a time until a result has named its own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
struct Asked<T> {
    src: String,
    item: T,
    at: Instant,
}

#[derive(Debug)]
pub(super) struct Pacer<T> {
    /// How many requests may be outstanding when results name them.
    most: usize,
    named: bool,
    waiting: VecDeque<T>,
    /// In the order in which they were sent.
    asked: VecDeque<Asked<T>>,
    /// Requests that nobody waits for any more, by their `src`. A PBX that is slow may still answer.
    given_up: HashMap<String, T>,
}

impl<T: Clone + PartialEq> Pacer<T> {
    pub(super) fn new(most: usize) -> Self {
        let (waiting, asked, given_up) = (VecDeque::new(), VecDeque::new(), HashMap::new());
        Self { most, named: false, waiting, asked, given_up }
    }

    /// This is to be asked for, unless it already is.
    pub(super) fn want(&mut self, item: T) {
        if !self.waiting.contains(&item) && !self.is_asked(|asked| *asked == item) {
            self.waiting.push_back(item);
        }
    }

    /// The same before everything else that waits.
    pub(super) fn want_first(&mut self, item: T) {
        self.waiting.retain(|waiting| *waiting != item);
        if !self.is_asked(|asked| *asked == item) {
            self.waiting.push_front(item);
        }
    }

    /// What to ask for next, if the PBX has answered enough. It counts as asked for once [`Self::sent`] says so.
    pub(super) fn next(&mut self) -> Option<T> {
        let most = if self.named { self.most } else { 1 };
        if self.asked.len() < most { self.waiting.pop_front() } else { None }
    }

    pub(super) fn sent(&mut self, src: String, item: T) {
        self.asked.push_back(Asked { src, item, at: Instant::now() });
    }

    /// What this result answers.
    pub(super) fn answered(&mut self, src: Option<&str>) -> Option<T> {
        self.named = src.is_some();
        match src {
            Some(src) => self.take(src),
            None => Some(self.asked.pop_front()?.item),
        }
    }

    /// The same for a result without `src`, where something else has told which one it would be.
    pub(super) fn answered_unnamed(&mut self, src: &str) -> Option<T> {
        self.named = false;
        self.take(src)
    }

    fn take(&mut self, src: &str) -> Option<T> {
        match self.asked.iter().position(|asked| asked.src == src) {
            Some(at) => Some(self.asked.remove(at)?.item),
            None => self.given_up.remove(src),
        }
    }

    /// Gives up the requests that have waited this long. Some PBXs refuse by not answering, and one must not block the others.
    pub(super) fn give_up_after(&mut self, limit: Duration) -> Vec<T> {
        let mut items = Vec::new();
        while let Some(Asked { src, item, .. }) = self.asked.pop_front_if(|asked| asked.at.elapsed() > limit) {
            self.given_up.retain(|_, earlier| *earlier != item);
            self.given_up.insert(src, item.clone());
            items.push(item);
        }
        items
    }

    pub(super) fn is_asked(&self, is_it: impl Fn(&T) -> bool) -> bool {
        self.asked.iter().any(|asked| is_it(&asked.item))
    }

    /// Nothing waits, and everything is answered or given up.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_all(pacer: &mut Pacer<u32>) -> Vec<u32> {
        std::iter::from_fn(|| {
            let item = pacer.next()?;
            pacer.sent(format!("s{item}"), item);
            Some(item)
        })
        .collect()
    }

    #[tokio::test]
    async fn answers_set_the_pace() {
        let mut pacer = Pacer::new(3);
        (1..=9).for_each(|item| pacer.want(item));
        pacer.want(9);
        assert_eq!(ask_all(&mut pacer), [1], "nobody knows yet whether results name their requests");
        assert_eq!(pacer.answered(Some("s1")), Some(1));
        assert_eq!(ask_all(&mut pacer), [2, 3, 4]);
        assert!(ask_all(&mut pacer).is_empty());
        assert_eq!(pacer.answered(Some("s3")), Some(3), "in any order");
        assert_eq!(pacer.answered(Some("s3")), None);
        assert_eq!(ask_all(&mut pacer), [5]);
    }

    #[tokio::test(start_paused = true)]
    async fn results_without_src_are_certain_one_at_a_time() {
        let mut pacer = Pacer::new(3);
        (1..=3).for_each(|item| pacer.want(item));
        assert_eq!(ask_all(&mut pacer), [1]);
        assert_eq!(pacer.answered(None), Some(1));
        assert_eq!(ask_all(&mut pacer), [2]);
        // A refusal by silence.
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(pacer.give_up_after(Duration::from_secs(10)), [2]);
        assert_eq!(ask_all(&mut pacer), [3]);
        assert_eq!(pacer.answered(None), Some(3));
        assert!(pacer.is_idle());
        assert_eq!(pacer.answered(Some("s2")), Some(2), "late, but it says what it answers");
    }
}
