//! Orders tables so that parent rows come before the rows that refer to them. Invariant: the same schema gives the same
//! order.

use std::collections::HashMap;

/// Returns the indices of `tables` in an order in which each table comes after the tables it refers to.
///
/// Each entry of `tables` is a table's name and the names of the tables its foreign keys point to, in schema order.
/// Names are compared without case, as in SQLite. Ties keep schema order, and so do the tables of a cycle: ordering a
/// second time changes nothing, so a restored copy dumps to the same bytes.
pub fn parents_first<N: AsRef<str>>(tables: &[(N, Vec<String>)]) -> Vec<usize> {
    let parents = parents_of(tables);
    let cycles = Cycles::of(&parents);
    let order = depth_first(&cycles.parents(&parents));
    order
        .into_iter()
        .flat_map(|cycle| cycles.members[cycle].iter().copied())
        .collect()
}

fn parents_of<N: AsRef<str>>(tables: &[(N, Vec<String>)]) -> Vec<Vec<usize>> {
    let index_of: HashMap<String, usize> = tables
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (name.as_ref().to_ascii_lowercase(), index))
        .collect();
    let parents = |names: &Vec<String>| {
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        sorted(names.filter_map(|name| index_of.get(&name).copied()))
    };
    tables.iter().map(|(_, names)| parents(names)).collect()
}

fn sorted(indices: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sorted: Vec<usize> = indices.collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// The tables grouped into cycles: tables that reach each other are in one group; most are alone in theirs.
struct Cycles {
    /// Tables of each cycle in schema order; the cycles are ordered by their first member.
    members: Vec<Vec<usize>>,
    /// Number of the cycle of each table.
    of_table: Vec<usize>,
}

impl Cycles {
    /// Finds the cycles with Kosaraju's algorithm: a depth-first search along the parents, then, in reverse order of
    /// completion, a search along the children.
    fn of(parents: &[Vec<usize>]) -> Self {
        let mut children = vec![Vec::new(); parents.len()];
        for (child, parents) in parents.iter().enumerate() {
            parents
                .iter()
                .for_each(|parent| children[*parent].push(child));
        }
        let mut root_of: Vec<Option<usize>> = vec![None; parents.len()];
        for root in depth_first(parents).into_iter().rev() {
            let mut waiting = vec![root];
            while let Some(table) = waiting.pop() {
                if root_of[table].is_none() {
                    root_of[table] = Some(root);
                    waiting.extend(&children[table]);
                }
            }
        }
        let mut cycles = Self {
            members: Vec::new(),
            of_table: Vec::with_capacity(parents.len()),
        };
        let mut numbers: HashMap<Option<usize>, usize> = HashMap::new();
        for (table, root) in root_of.into_iter().enumerate() {
            let number = *numbers.entry(root).or_insert(cycles.members.len());
            if number == cycles.members.len() {
                cycles.members.push(Vec::new());
            }
            cycles.members[number].push(table);
            cycles.of_table.push(number);
        }
        cycles
    }

    /// For each cycle, the other cycles that its members refer to.
    fn parents(&self, parents: &[Vec<usize>]) -> Vec<Vec<usize>> {
        let parents_of = |(cycle, members): (usize, &Vec<usize>)| {
            let parents = members.iter().flat_map(|table| &parents[*table]);
            let cycles = parents.map(|parent| self.of_table[*parent]);
            sorted(cycles.filter(|parent| *parent != cycle))
        };
        self.members.iter().enumerate().map(parents_of).collect()
    }
}

/// Returns all indices in an order in which each comes after its parents, as far as such an order exists.
fn depth_first(parents: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(parents.len());
    let mut state = vec![Visit::New; parents.len()];
    for root in 0..parents.len() {
        visit(root, parents, &mut state, &mut order);
    }
    order
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Seen,
}

/// Searches depth first without recursion: a chain of 100,000 tables must not overflow the stack.
fn visit(root: usize, parents: &[Vec<usize>], state: &mut [Visit], order: &mut Vec<usize>) {
    if state[root] == Visit::Seen {
        return;
    }
    state[root] = Visit::Seen;
    let mut path = vec![(root, 0)];
    while let Some((table, next)) = path.last_mut() {
        let Some(&parent) = parents[*table].get(*next) else {
            order.push(*table);
            path.pop();
            continue;
        };
        *next += 1;
        if state[parent] == Visit::New {
            state[parent] = Visit::Seen;
            path.push((parent, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(tables: &[(&str, &[&str])]) -> Vec<String> {
        let tables: Vec<(&str, Vec<String>)> = tables
            .iter()
            .map(|(name, parents)| (*name, parents.iter().map(ToString::to_string).collect()))
            .collect();
        let order = parents_first(&tables);
        order.into_iter().map(|i| tables[i].0.to_owned()).collect()
    }

    #[test]
    fn a_child_made_before_its_parent_comes_after_it() {
        let tables: &[(&str, &[&str])] = &[("child", &["PARENT"]), ("other", &[]), ("parent", &[])];
        assert_eq!(order(tables), ["parent", "child", "other"]);
    }

    #[test]
    fn cycles_self_references_and_missing_parents_do_not_hang() {
        let tables: &[(&str, &[&str])] = &[
            ("a", &["b"]),
            ("b", &["a"]),
            ("me", &["me"]),
            ("x", &["gone"]),
        ];
        assert_eq!(order(tables), ["a", "b", "me", "x"]);
    }

    #[test]
    fn ordering_a_second_time_changes_nothing() {
        let mut state = 1u32;
        let mut below = |limit: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % limit
        };
        for _ in 0..500 {
            let count = 2 + below(8);
            let tables: Vec<(String, Vec<String>)> = (0..count)
                .map(|table| {
                    let parents = (0..below(3)).map(|_| format!("t{}", below(count)));
                    (format!("t{table}"), parents.collect())
                })
                .collect();
            let order = parents_first(&tables);
            let ordered: Vec<_> = order.iter().map(|i| tables[*i].clone()).collect();
            let again = parents_first(&ordered);
            assert!(again.iter().copied().eq(0..tables.len()), "{tables:?}");
        }
    }

    #[test]
    fn a_cycle_comes_after_its_parents_and_before_its_children() {
        let tables: &[(&str, &[&str])] = &[
            ("child", &["b"]),
            ("a", &["b"]),
            ("b", &["c", "parent"]),
            ("c", &["a"]),
            ("parent", &[]),
        ];
        assert_eq!(order(tables), ["parent", "a", "b", "c", "child"]);
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let tables: Vec<(String, Vec<String>)> = (0..100_000)
            .map(|i| (format!("t{i}"), vec![format!("t{}", i + 1)]))
            .collect();
        assert_eq!(parents_first(&tables)[0], 99_999);
    }
}
