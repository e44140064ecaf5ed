//! Covering arrays of strength two: rows in which every value of every factor meets every value of every other one.
//!
//! As many rows as there may be are filled at random and then improved: one value of one row after the other is changed, if that leaves
//! no more pairs open than before. Building rows one by one (AETG), each as good as possible, takes a quarter more of them. The random
//! numbers are always the same ones.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value as Json};

/// After so many changes a number of rows counts as too small.
const MOST_CHANGES: usize = 500_000;

/// What can be set, and how.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    pub(crate) name: String,
    pub(crate) values: Vec<Json>,
}

type Setting = Map<String, Json>;

/// At most so many rows, none of which has everything that one of the forbidden settings has. None: that is too few.
pub(crate) fn rows(factors: &[Factor], forbidden: &[Setting], most: usize) -> Option<Vec<Setting>> {
    let mut array = Array::new(factors, forbidden, most);
    for _ in 0..MOST_CHANGES {
        if array.open == 0 {
            return Some(array.rows.iter().map(|row| setting(factors, row)).collect());
        }
        array.change();
    }
    None
}

fn setting(factors: &[Factor], row: &[usize]) -> Setting {
    let value = |(factor, value): (&Factor, &usize)| (factor.name.clone(), factor.values[*value].clone());
    factors.iter().zip(row).map(value).collect()
}

struct Array {
    /// How many values each factor has.
    levels: Vec<usize>,
    /// The number of a factor's first value, where the values of all factors are counted.
    first: Vec<usize>,
    values: usize,
    /// By row and factor.
    rows: Vec<Vec<usize>>,
    /// How many rows have both of two values.
    met: Vec<u16>,
    /// Pairs of values that have not met and may.
    open: usize,
    /// Pairs of values that must not meet count as met.
    forbidden: Vec<Vec<(usize, usize)>>,
    rng: StdRng,
}

impl Array {
    fn new(factors: &[Factor], forbidden: &[Setting], most: usize) -> Self {
        let levels: Vec<usize> = factors.iter().map(|factor| factor.values.len()).collect();
        let first: Vec<usize> =
            levels.iter().scan(0, |sum, level| Some(std::mem::replace(sum, *sum + level))).collect();
        let values = levels.iter().sum();
        let at = |(name, value): (&String, &Json)| {
            let factor = factors.iter().position(|factor| factor.name == *name)?;
            Some((factor, factors[factor].values.iter().position(|other| other == value)?))
        };
        // What names a value that is not there forbids nothing.
        let forbidden: Vec<Vec<(usize, usize)>> =
            forbidden.iter().filter_map(|setting| setting.iter().map(at).collect()).collect();
        let mut array = Self {
            open: 0,
            // The first values are the plain ones, which nothing forbids.
            rows: vec![vec![0; levels.len()]; most],
            met: vec![0; values * values],
            levels,
            first,
            values,
            forbidden,
            rng: StdRng::seed_from_u64(1),
        };
        array.count();
        array
    }

    fn count(&mut self) {
        for (one, other) in (0..self.levels.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
            for (value, second) in (0..self.levels[one]).flat_map(|v| (0..self.levels[other]).map(move |w| (v, w))) {
                let rows = self.rows.iter().filter(|row| row[one] == value && row[other] == second).count();
                let pair = [(one, value), (other, second)];
                let must_not = self.forbidden.iter().any(|set| set.iter().all(|part| pair.contains(part)));
                self.open += usize::from(rows == 0 && !must_not);
                for index in [self.index(pair[0], pair[1]), self.index(pair[1], pair[0])] {
                    self.met[index] = if must_not { u16::MAX / 2 } else { rows as u16 };
                }
            }
        }
    }

    fn index(&self, one: (usize, usize), other: (usize, usize)) -> usize {
        (self.first[one.0] + one.1) * self.values + self.first[other.0] + other.1
    }

    /// Changes one value at random, unless more pairs would be open.
    fn change(&mut self) {
        let row = self.rng.random_range(0..self.rows.len());
        let factor = self.rng.random_range(0..self.levels.len());
        let value = self.rng.random_range(0..self.levels[factor]);
        let before = self.rows[row][factor];
        if value == before || self.is_forbidden(row, factor, value) {
            return;
        }
        let (mut lost, mut won) = (0, 0);
        for (other, second) in self.rows[row].iter().enumerate().filter(|(other, _)| *other != factor) {
            lost += usize::from(self.met[self.index((factor, before), (other, *second))] == 1);
            won += usize::from(self.met[self.index((factor, value), (other, *second))] == 0);
        }
        if lost > won {
            return;
        }
        self.open = self.open + lost - won;
        for other in (0..self.levels.len()).filter(|other| *other != factor) {
            let second = (other, self.rows[row][other]);
            for (mine, change) in [((factor, before), u16::MAX), ((factor, value), 1)] {
                for index in [self.index(mine, second), self.index(second, mine)] {
                    self.met[index] = self.met[index].wrapping_add(change);
                }
            }
        }
        self.rows[row][factor] = value;
    }

    fn is_forbidden(&self, row: usize, factor: usize, value: usize) -> bool {
        let is_so = |(part, wanted): &(usize, usize)| {
            let present = if *part == factor { value } else { self.rows[row][*part] };
            present == *wanted
        };
        self.forbidden.iter().any(|set| set.iter().all(is_so))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_values_meet_unless_they_must_not() {
        let factor = |(name, values): (&str, u64)| Factor {
            name: name.to_owned(),
            values: (0..values).map(Json::from).collect(),
        };
        let factors: Vec<Factor> = [("a", 2), ("b", 3), ("c", 4), ("d", 2)].map(factor).into();
        let forbidden = Setting::from_iter([("a".to_owned(), 1.into()), ("c".to_owned(), 3.into())]);
        assert!(
            rows(&factors, std::slice::from_ref(&forbidden), 11).is_none(),
            "three times four pairs need twelve rows"
        );
        let rows = rows(&factors, std::slice::from_ref(&forbidden), 12).expect("enough rows");
        for (n, one) in factors.iter().enumerate() {
            for other in &factors[n + 1..] {
                for first in &one.values {
                    for second in &other.values {
                        let meets = rows.iter().any(|row| row[&one.name] == *first && row[&other.name] == *second);
                        let pair = Setting::from_iter([
                            (one.name.clone(), first.clone()),
                            (other.name.clone(), second.clone()),
                        ]);
                        assert_eq!(meets, pair != forbidden, "{pair:?}");
                    }
                }
            }
        }
    }
}
