//! Sorts items by their dependencies. Invariant: each item comes after all it waits for, and otherwise keeps its place;
//! cycles are reported. Pure.

use std::collections::HashMap;

use super::model::{Config, Database};
use crate::types::DatabaseName;

impl Config {
    /// Returns the databases in the order of a restore: by priority, then file order, and each after those that its
    /// `restore_after` names, which move forward if needed.
    pub fn restore_order(&self) -> Vec<&Database> {
        let names = self.databases.iter().enumerate();
        let places: HashMap<&DatabaseName, usize> =
            names.map(|(place, one)| (&one.name, place)).collect();
        let after: Vec<Vec<usize>> = self
            .databases
            .iter()
            .map(|one| one.restore_after.iter())
            .map(|names| names.filter_map(|name| places.get(name).copied()).collect())
            .collect();
        let order = ordered(&after).order.into_iter();
        order.map(|place| &self.databases[place]).collect()
    }
}

/// Order of `0..after.len()`, and the cycles found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ordered {
    /// Every index once.
    pub(super) order: Vec<usize>,
    /// Indices of each cycle, each waiting for the next one and the last for the first.
    pub(super) circles: Vec<Vec<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Placed,
}

/// Sorts indices by their dependencies: an index moves the indices it waits for forward. Iterative, so that no chain
/// overflows the stack.
pub(super) fn ordered(after: &[Vec<usize>]) -> Ordered {
    let mut found = Ordered::default();
    let mut marks = vec![Mark::New; after.len()];
    for first in 0..after.len() {
        if marks[first] != Mark::New {
            continue;
        }
        marks[first] = Mark::Open;
        // Open indices, each with the number of its dependencies already visited.
        let mut open: Vec<(usize, usize)> = vec![(first, 0)];
        while let Some((index, looked_at)) = open.last_mut() {
            let (index, next) = (*index, after[*index].get(*looked_at).copied());
            *looked_at += 1;
            match next.map(|next| (next, marks[next])) {
                None => {
                    marks[index] = Mark::Placed;
                    found.order.push(index);
                    open.pop();
                }
                Some((_, Mark::Placed)) => {}
                Some((next, Mark::New)) => {
                    marks[next] = Mark::Open;
                    open.push((next, 0));
                }
                Some((next, Mark::Open)) => {
                    let circle = open.iter().map(|(index, _)| *index);
                    let circle = circle.skip_while(|index| *index != next);
                    found.circles.push(circle.collect());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_follows_what_it_waits_for_and_otherwise_keeps_its_place() {
        // Example of the specification: 1 waits for 0 and 2, and 2 for 0.
        let after = [vec![], vec![0, 2], vec![0], vec![], vec![], vec![]];
        assert_eq!(ordered(&after).order, [0, 2, 1, 3, 4, 5]);
        assert_eq!(ordered(&[vec![2], vec![], vec![]]).order, [2, 0, 1]);
        assert_eq!(ordered(&[]), Ordered::default());
    }

    #[test]
    fn each_circle_is_named_once_and_everything_still_has_a_place() {
        let found = ordered(&[vec![1], vec![2], vec![0], vec![3], vec![0]]);
        assert_eq!(found.circles, [vec![0, 1, 2], vec![3]]);
        let mut all = found.order;
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_chain_may_be_as_long_as_a_file() {
        let after: Vec<Vec<usize>> = (0..200_000).map(|index| vec![index + 1]).collect();
        let after: Vec<Vec<usize>> = after.into_iter().chain([vec![]]).collect();
        assert_eq!(ordered(&after).order.first(), Some(&200_000));
    }
}
