//! Orders tables so that a row's parents come before it. Invariant: the same schema gives the same order.

use std::collections::HashMap;

/// The indices of `tables` in an order where each comes after the tables it refers to.
///
/// `tables` are names and the names of the tables their foreign keys point to, in schema order. Names compare
/// without case, as SQLite does. Ties keep schema order; in a cycle, the first table in schema order goes first.
pub fn parents_first<N: AsRef<str>>(tables: &[(N, Vec<String>)]) -> Vec<usize> {
    let index_of: HashMap<String, usize> = tables
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (name.as_ref().to_ascii_lowercase(), index))
        .collect();
    let parents: Vec<Vec<usize>> = tables
        .iter()
        .map(|(_, names)| {
            let mut found: Vec<usize> = names
                .iter()
                .filter_map(|name| index_of.get(&name.to_ascii_lowercase()).copied())
                .collect();
            found.sort_unstable();
            found.dedup();
            found
        })
        .collect();
    let mut order = Vec::with_capacity(tables.len());
    let mut state = vec![Visit::New; tables.len()];
    for root in 0..tables.len() {
        visit(root, &parents, &mut state, &mut order);
    }
    order
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Seen,
}

/// Depth first without recursion: a chain of 100,000 tables must not overflow the stack.
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
        assert_eq!(order(tables), ["b", "a", "me", "x"]);
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let tables: Vec<(String, Vec<String>)> = (0..100_000)
            .map(|i| (format!("t{i}"), vec![format!("t{}", i + 1)]))
            .collect();
        assert_eq!(parents_first(&tables)[0], 99_999);
    }
}
