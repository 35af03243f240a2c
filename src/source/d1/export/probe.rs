//! Writes the queries that search a table for values that Cloudflare's export changes, and that sum it up for a
//! comparison with the copy. Pure: the same text runs on D1 and on the copy.

use crate::dump::{Table, quoted_name};
use crate::source::d1::answer::Cell;
use crate::source::d1::schema::Rows;
use crate::source::describe::RowKey;

/// D1 accepts 100 aggregates and 100,000 bytes in a statement; each column needs two and nearly two thousand.
const COLUMNS_PER_STATEMENT: usize = 40;

/// The largest finite real.
const LARGEST_REAL: &str = "1.7976931348623157e308";

/// Alias of the rows' key in the queries.
const KEY: &str = "\"patina key\"";

/// Values that Cloudflare's export does not preserve; [`Column::hazard`] is the number of one, counted from 1.
pub(super) const HAZARDS: [&str; 7] = [
    "integers beyond 2^53, which it rounds",
    "infinities, which it may lose",
    "negative zeros, which lose their sign",
    "reals without a fraction, which it turns into integers",
    "texts with both a newline and the characters `\\n` (or `\\r`), which it mixes up",
    "texts with NUL, which end its statements",
    "texts that are not UTF-8, which it replaces",
];

/// Findings in a table, or in a part of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Print {
    pub(super) rows: u64,
    /// Approximate length of the longest row as SQL, in bytes.
    pub(super) widest_bytes: u64,
    pub(super) columns: Vec<Column>,
}

/// Findings in a column.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Column {
    /// Number of the last of [`HAZARDS`] that any of its values has; 0 if none.
    pub(super) hazard: usize,
    /// Sum of a number that is computed from each value.
    sum: i64,
}

impl Print {
    /// Adds the findings in another part of the same table.
    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.widest_bytes = self.widest_bytes.max(other.widest_bytes);
        self.columns
            .resize_with(other.columns.len(), Column::default);
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            column.hazard = column.hazard.max(more.hazard);
            column.sum = column.sum.wrapping_add(more.sum);
        }
    }

    /// Returns the first difference from a copy: `None` if they are equal, `Some(None)` for the number of rows, else
    /// the column.
    pub(super) fn difference(&self, copy: &Self) -> Option<Option<usize>> {
        if self.rows != copy.rows {
            return Some(None);
        }
        let mut pairs = self.columns.iter().zip(&copy.columns);
        pairs.position(|(a, b)| a.sum != b.sum).map(Some)
    }
}

/// The check of one table.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    pub(super) table: &'a Table,
    pub(super) key: &'a RowKey,
    /// True if `atan2` distinguishes −0.0 from 0.0 here.
    pub(super) has_atan2: bool,
    /// For each column, true if its type converts integers into reals.
    pub(super) is_real: Vec<bool>,
}

impl Probe<'_> {
    /// Returns the statements that check the rows after the key `after`, at most `limit` of them.
    pub(super) fn statements(&self, after: Option<i64>, limit: Option<u64>) -> Vec<String> {
        let from = self.from(after, limit);
        let columns: Vec<String> = self.table.columns.iter().map(|c| quoted_name(c)).collect();
        let mut terms = vec![
            "quote(count(*))".to_owned(),
            format!("quote(max({KEY}))"),
            format!("quote(coalesce(max({}),0))", self.width(&columns)),
        ];
        let mut statements = Vec::new();
        for start in (0..columns.len()).step_by(COLUMNS_PER_STATEMENT) {
            let end = columns.len().min(start + COLUMNS_PER_STATEMENT);
            terms.extend((start..end).map(|at| self.term(&columns[at], self.is_real[at])));
            statements.push(format!("SELECT {} {from}", terms.join(",")));
            terms.clear();
        }
        statements
    }

    /// Reads the answers; returns the findings and the last key that was checked.
    pub(super) fn read(&self, answers: &[Rows]) -> Option<(Print, Option<i64>)> {
        let mut cells = Vec::new();
        for rows in answers {
            cells.extend_from_slice(rows.first()?);
        }
        let [
            Cell::Integer(rows),
            last,
            Cell::Integer(widest),
            columns @ ..,
        ] = &cells[..]
        else {
            return None;
        };
        let last = match last {
            Cell::Integer(last) => Some(*last),
            _ => None,
        };
        let columns: Option<Vec<Column>> = columns.iter().map(read_column).collect();
        let print = Print {
            rows: u64::try_from(*rows).ok()?,
            widest_bytes: u64::try_from(*widest).ok()?,
            columns: columns.filter(|columns| columns.len() == self.table.columns.len())?,
        };
        Some((print, last))
    }

    /// True if the table can be checked in parts.
    pub(super) fn has_parts(&self) -> bool {
        matches!(self.key, RowKey::Column(_) | RowKey::Rowid(_))
    }

    fn from(&self, after: Option<i64>, limit: Option<u64>) -> String {
        let table = quoted_name(&self.table.name);
        let names: Vec<String> = self.table.columns.iter().map(|c| quoted_name(c)).collect();
        let names = names.join(",");
        let key = match self.key {
            RowKey::Column(_) | RowKey::Rowid(_) => self.key.order_by(),
            RowKey::Primary(_) | RowKey::Scan => {
                return format!("FROM (SELECT NULL AS {KEY},{names} FROM {table})");
            }
        };
        let after = after.map_or(String::new(), |after| format!(" WHERE {key}>{after}"));
        let limit = limit.map_or(String::new(), |rows| {
            format!(" ORDER BY {key} LIMIT {rows}")
        });
        format!("FROM (SELECT {key} AS {KEY},{names} FROM {table}{after}{limit})")
    }

    /// SQL for the approximate length of a row's literals, as a sum of low depth.
    fn width(&self, columns: &[String]) -> String {
        let mut terms: Vec<String> = columns
            .iter()
            .map(|c| {
                format!(
                    "CASE typeof({c}) WHEN 'blob' THEN 4+2*octet_length({c}) WHEN 'text' THEN 3+octet_length({c}) \
                     ELSE 5 END"
                )
            })
            .collect();
        while terms.len() > 1 {
            terms = terms
                .chunks(2)
                .map(|pair| match pair {
                    [a, b] => format!("({a}+{b})"),
                    _ => pair.concat(),
                })
                .collect();
        }
        let overhead = self.table.name.len() + columns.iter().map(|c| c.len() + 1).sum::<usize>();
        terms.push(overhead.to_string());
        terms.join("+")
    }

    /// SQL for hazard and sum of one column, as one text with a comma between the numbers.
    fn term(&self, c: &str, is_real: bool) -> String {
        let text = format!("typeof({c})='text'");
        let both = |newline: u32, letters: &str| {
            format!("instr({c},char({newline}))>0 AND instr({c},'{letters}')>0")
        };
        let never = || "0".to_owned();
        let whole = format!(
            "typeof({c})='real' AND abs({c})<9.3e18 AND {c}<>0.0 AND {c}=CAST({c} AS INTEGER)"
        );
        let zero = format!("typeof({c})='real' AND {c}=0.0");
        let hazards = [
            format!(
                "typeof({c})='integer' AND {c} NOT BETWEEN -9007199254740992 AND 9007199254740992"
            ),
            format!("typeof({c})='real' AND abs({c})>{LARGEST_REAL}"),
            match self.has_atan2 {
                true => format!("{zero} AND atan2({c},-1)<0"),
                false => never(),
            },
            match is_real {
                true => never(),
                false => format!("{whole} OR {zero}"),
            },
            format!("{text} AND ({} OR {})", both(10, "\\n"), both(13, "\\r")),
            format!("{text} AND instr(CAST({c} AS BLOB),X'00')>0"),
            format!(
                "{text} AND {c} GLOB '*'||char(65533)||'*' AND instr(CAST({c} AS BLOB),X'EFBFBD')=0"
            ),
        ];
        let branch =
            |(at, condition): (usize, &String)| format!("WHEN {condition} THEN {} ", at + 1);
        let hazards: String = hazards.iter().enumerate().map(branch).collect();
        let count_of =
            |what: &str| format!("(octet_length({c})-octet_length(replace({c},{what},'')))");
        // Bytes that are not UTF-8 are returned as the character 65533, so that there are more of them.
        let (replaced, newlines) = (count_of("char(65533)"), count_of("char(10)"));
        // Ten digits and the exponent: other versions of SQLite round the last digits differently.
        let e = format!("printf('%.15e',{c})");
        let real = format!(
            "13*CAST(substr({e},instr({e},'e')+1) AS INTEGER)+CAST(substr({e},1,instr({e},'.')-1)||\
             substr({e},instr({e},'.')+1,9) AS INTEGER)%1000003"
        );
        let sum = format!(
            "CASE typeof({c}) WHEN 'null' THEN 1 WHEN 'real' THEN 3000017+{real} WHEN 'integer' THEN 5000011+\
             (({c}%1000003)*({c}%999983))%1000003 WHEN 'blob' THEN 7000003+101*octet_length({c}) ELSE 9000011+\
             103*octet_length({c})+107*length({c})+1009*{replaced}+1013*{newlines}+\
             109*coalesce(unicode(substr({c},length({c})/2+1,1)),0) END"
        );
        format!("coalesce('t'||max(CASE {hazards}ELSE 0 END)||','||sum({sum}),'NULL')")
    }
}

fn read_column(cell: &Cell) -> Option<Column> {
    let text = match cell {
        Cell::Text(text) => text,
        // Without rows there is nothing to sum up.
        Cell::Null => return Some(Column::default()),
        _ => return None,
    };
    let mut numbers = std::str::from_utf8(text).ok()?.split(',');
    let column = Column {
        hazard: numbers.next()?.parse().ok()?,
        sum: numbers.next()?.parse().ok()?,
    };
    (numbers.next().is_none() && column.hazard <= HAZARDS.len()).then_some(column)
}

/// True if a column of this type converts integers into reals:
/// <https://sqlite.org/datatype3.html#determination_of_column_affinity>.
pub(super) fn is_real(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    has(&["REAL", "FLOA", "DOUB"]) && !has(&["INT", "CHAR", "CLOB", "TEXT", "BLOB"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_columns_of_reals_make_reals_of_integers() {
        for declared in ["REAL", "double precision", "FLOAT(3)"] {
            assert!(is_real(declared), "{declared}");
        }
        for declared in [
            "",
            "NUMERIC",
            "INTEGER",
            "FLOATING POINT",
            "any",
            "DECIMAL(3)",
        ] {
            assert!(!is_real(declared), "{declared}");
        }
    }

    #[test]
    fn parts_add_up_and_a_difference_names_its_column() {
        let cell = |text: &str| read_column(&Cell::Text(text.as_bytes().to_vec()));
        let column = cell("1,7").unwrap();
        assert_eq!((column.hazard, column.sum), (1, 7));
        assert!(cell("1").is_none() && cell("8,2").is_none());
        let part = Print {
            rows: 2,
            widest_bytes: 9,
            columns: vec![Column::default(), column],
        };
        let mut whole = Print::default();
        whole.add(part.clone());
        assert_eq!(whole.difference(&part), None);
        whole.add(part.clone());
        assert_eq!(whole.columns[1].sum, 14);
        assert_eq!(whole.difference(&part), Some(None));
        whole.rows = part.rows;
        assert_eq!(whole.difference(&part), Some(Some(1)));
    }
}
