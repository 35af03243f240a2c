//! Formats tables. Invariant: no cell is cut; a very long one only shifts the rest of its own line, and `--json` serves
//! those who need narrow output.

use std::fmt;

use crate::quote::blanks;

/// Alignment of a column's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// Rows under a heading.
pub(super) struct Table<const N: usize> {
    columns: [(&'static str, Side); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [(&'static str, Side); N]) -> Self {
        let rows = Vec::new();
        Self { columns, rows }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(self.columns[column].0.len())
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: [usize; N] = std::array::from_fn(|column| self.width(column));
        let heading = self.columns.map(|(name, _)| name.to_owned());
        for (number, row) in std::iter::once(&heading).chain(&self.rows).enumerate() {
            let mut line = String::new();
            for ((cell, (_, side)), width) in row.iter().zip(&self.columns).zip(widths) {
                let blanks = blanks(cell, width);
                match side {
                    Side::Left => line.extend([cell.as_str(), blanks.as_str()]),
                    Side::Right => line.extend([blanks.as_str(), cell.as_str()]),
                }
                line.push_str("  ");
            }
            let newline = if number == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_longer_than_any_column_moves_its_own_line_alone() {
        let mut table = Table::new([("name", Side::Left), ("rows", Side::Right)]);
        let long = "x".repeat(70_000);
        table.row([long.clone(), "1".to_owned()]);
        table.row(["b".to_owned(), long.clone()]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with(&long) && lines[1].len() < 71_000);
        assert!(lines[2].ends_with(&long) && lines[2].len() < 71_000);
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new([("name", Side::Left), ("rows", Side::Right)]);
        table.row(["grün".to_owned(), "1,234".to_owned()]);
        table.row(["b".to_owned(), "7".to_owned()]);
        assert_eq!(table.to_string(), "name   rows\ngrün  1,234\nb         7");
    }
}
