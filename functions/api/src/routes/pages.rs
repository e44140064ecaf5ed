//! Pages of a list in which only some entries are wanted.

/// Entries that one request looks at while it searches for wanted ones.
const MOST_LOOKED_AT: usize = 1_000;
/// Entries that are read at once while something is searched for.
const READ_AT_ONCE: usize = 200;

/// What was found so far, and where it goes on. Its user reads while `next` asks for it, and tells what was read.
pub(super) struct Search<T> {
    limit: usize,
    read_at_once: usize,
    found: Vec<(String, T)>,
    looked_at: usize,
    behind: Option<String>,
    is_over: bool,
}

impl<T> Search<T> {
    /// Looks for so many entries behind a sort key. If all are wanted, no more is read than is shown.
    pub(super) fn new(limit: usize, behind: Option<String>, all_are_wanted: bool) -> Self {
        let read_at_once = if all_are_wanted { limit } else { READ_AT_ONCE.max(limit) };
        Self { limit, read_at_once, found: Vec::new(), looked_at: 0, behind, is_over: false }
    }

    /// Behind which sort key to read how many entries; `None` when it is enough.
    pub(super) fn next(&self) -> Option<(Option<&str>, usize)> {
        (!self.is_over).then_some((self.behind.as_deref(), self.read_at_once))
    }

    /// Takes what was read: entries with their sort keys, and where what follows begins.
    pub(super) fn add(&mut self, page: Vec<(String, T)>, next: Option<String>, wants: impl Fn(&T) -> bool) {
        self.looked_at += page.len();
        self.found.extend(page.into_iter().filter(|(_, entry)| wants(entry)));
        self.behind = next;
        if self.found.len() > self.limit {
            // The next page begins behind what is shown, not behind what was looked at.
            self.found.truncate(self.limit);
            self.behind = self.found.last().map(|(sort_key, _)| sort_key.clone());
        }
        self.is_over = self.behind.is_none() || self.found.len() == self.limit || self.looked_at >= MOST_LOOKED_AT;
    }

    /// The wanted entries, and where the next page begins.
    pub(super) fn end(self) -> (Vec<T>, Option<String>) {
        (self.found.into_iter().map(|(_, entry)| entry).collect(), self.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for every n-th number below `end`; returns what was found, where it goes on, and how often it was read.
    fn search(end: u32, limit: usize, behind: Option<&str>, every: u32) -> (Vec<u32>, Option<String>, u32) {
        let mut search = Search::new(limit, behind.map(str::to_owned), every == 1);
        let mut reads = 0;
        while let Some((behind, amount)) = search.next() {
            reads += 1;
            let first = behind.map_or(0, |behind| behind.parse::<u32>().expect("a number") + 1);
            let last = end.min(first + u32::try_from(amount).expect("few"));
            let page = (first..last).map(|n| (n.to_string(), n)).collect();
            search.add(page, (last < end).then(|| (last - 1).to_string()), |n| n % every == 0);
        }
        let (found, next) = search.end();
        (found, next, reads)
    }

    #[test]
    fn every_wanted_entry_comes_once() {
        assert_eq!(search(5, 2, None, 1), (vec![0, 1], Some("1".to_owned()), 1));
        assert_eq!(search(5, 2, Some("1"), 1), (vec![2, 3], Some("3".to_owned()), 1));
        assert_eq!(search(5, 2, Some("3"), 1), (vec![4], None, 1));
        // One of a hundred is wanted: it is not searched for entry by entry.
        assert_eq!(search(2_000, 1, None, 100), (vec![0], Some("0".to_owned()), 1));
        assert_eq!(search(2_000, 3, Some("0"), 100), (vec![100, 200, 300], Some("300".to_owned()), 2));
        assert_eq!(search(2_000, 2, Some("0"), 50), (vec![50, 100], Some("100".to_owned()), 1));
        assert_eq!(search(5_000, 1, Some("0"), 4_000), (vec![], Some("1000".to_owned()), 5));
    }
}
