//! Covering arrays of strength two: rows in which every value of every factor meets every value of every other one.
//!
//! Made greedily, after the idea of AETG (Cohen and others, 1997): each next row is the best of many candidates, and a candidate gives
//! its factors, in a random order, the value by which the most pairs are new. The random numbers are always the same ones.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value as Json};

const CANDIDATES: usize = 100;

/// What can be set, and how.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    pub(crate) name: String,
    pub(crate) values: Vec<Json>,
}

/// Two factors and a value of each, by their numbers; the lower factor first.
type Pair = ((usize, usize), (usize, usize));

fn pair(one: (usize, usize), other: (usize, usize)) -> Pair {
    if one.0 < other.0 { (one, other) } else { (other, one) }
}

/// Rows without what `is_forbidden`. A pair that cannot be without it is left out.
pub(crate) fn rows(factors: &[Factor], is_forbidden: &dyn Fn(&Map<String, Json>) -> bool) -> Vec<Map<String, Json>> {
    let setting = |chosen: &[(usize, usize)]| -> Map<String, Json> {
        let value = |(factor, value): &(usize, usize)| {
            let factor = &factors[*factor];
            (factor.name.clone(), factor.values[*value].clone())
        };
        chosen.iter().map(value).collect()
    };
    let all = |factor: usize| (0..factors[factor].values.len()).map(move |value| (factor, value));
    let pairs = (0..factors.len()).flat_map(|one| (one + 1..factors.len()).map(move |other| (one, other)));
    let mut open: BTreeSet<Pair> = pairs
        .flat_map(|(one, other)| all(one).flat_map(move |first| all(other).map(move |second| (first, second))))
        .filter(|(first, second)| !is_forbidden(&setting(&[*first, *second])))
        .collect();
    let mut rng = StdRng::seed_from_u64(1);
    let mut rows = Vec::new();
    while !open.is_empty() {
        let candidates =
            (0..CANDIDATES).map(|_| candidate(factors, &open, &mut rng, &|row| is_forbidden(&setting(row))));
        let best = candidates.max_by_key(|row| new_pairs(row, &open)).expect("a candidate");
        if new_pairs(&best, &open) == 0 {
            break;
        }
        open.retain(|(first, second)| !(best.contains(first) && best.contains(second)));
        rows.push(setting(&best));
    }
    rows
}

fn new_pairs(row: &[(usize, usize)], open: &BTreeSet<Pair>) -> usize {
    let after = |at: usize| row[at + 1..].iter().map(move |other| pair(row[at], *other));
    (0..row.len()).flat_map(after).filter(|pair| open.contains(pair)).count()
}

fn candidate(
    factors: &[Factor],
    open: &BTreeSet<Pair>,
    rng: &mut StdRng,
    is_forbidden: &dyn Fn(&[(usize, usize)]) -> bool,
) -> Vec<(usize, usize)> {
    // It begins with a pair that is open.
    let begin = open.iter().nth(rng.random_range(0..open.len())).copied();
    let mut row: Vec<(usize, usize)> = begin.into_iter().flat_map(|(first, second)| [first, second]).collect();
    let mut order: Vec<usize> =
        (0..factors.len()).filter(|factor| row.iter().all(|(taken, _)| taken != factor)).collect();
    order.shuffle(rng);
    for factor in order {
        let mut values: Vec<usize> = (0..factors[factor].values.len()).collect();
        values.shuffle(rng);
        let gain = |value: &usize| row.iter().filter(|other| open.contains(&pair(**other, (factor, *value)))).count();
        values.sort_by_key(|value| std::cmp::Reverse(gain(value)));
        let fits = |value: &usize| !is_forbidden(&[row.as_slice(), &[(factor, *value)]].concat());
        let chosen = values.iter().copied().find(fits).expect("a factor has a plain value, which is never forbidden");
        row.push((factor, chosen));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_values_meet_unless_they_must_not() {
        let factor =
            |name: &str, values: u64| Factor { name: name.to_owned(), values: (0..values).map(Json::from).collect() };
        let factors: Vec<Factor> =
            [("a", 2), ("b", 3), ("c", 4), ("d", 2)].map(|(name, values)| factor(name, values)).into();
        let is_forbidden = |row: &Map<String, Json>| row.get("a") == Some(&1.into()) && row.get("c") == Some(&3.into());
        let rows = rows(&factors, &is_forbidden);
        assert!(rows.len() <= 14, "{}", rows.len());
        for (n, one) in factors.iter().enumerate() {
            for other in &factors[n + 1..] {
                for (first, second) in
                    one.values.iter().flat_map(|first| other.values.iter().map(move |second| (first, second)))
                {
                    let meets = rows.iter().any(|row| row[&one.name] == *first && row[&other.name] == *second);
                    let must_not =
                        (one.name.as_str(), other.name.as_str()) == ("a", "c") && *first == 1 && *second == 3;
                    assert_eq!(meets, !must_not, "{}={first} {}={second}", one.name, other.name);
                }
            }
        }
    }
}
