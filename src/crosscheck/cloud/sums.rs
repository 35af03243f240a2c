//! Writes the query that adds up a table: the number of rows, and for each column a sum over every value by its type,
//! its content and its row. Pure.
//!
//! Contribution of a value: an integer all its bits; a real all its bits between 1e-59 and 1e74, and beyond them its
//! kind only; a text or blob its length and, up to 28 bytes, every byte. Longer ones contribute the first 21 and last 7
//! bytes, 7 in the middle, 7 at a position that the first bytes determine, the number of CR and U+FFFD, and the
//! position of the first NUL. Each contribution is multiplied by a number derived from the row's key, so exchanged
//! values are detected. Nothing depends on SQLite's text of a real, which differs between versions; the rest is integer
//! arithmetic and exact products by powers of two.

use crate::crosscheck::quoted;

/// Columns per statement. A result set of D1 has at most 100: two for each column of the table, and a few more.
const COLUMNS_PER_STATEMENT: usize = 45;

/// Number of columns of a key without rowid that determine a row's weight.
const KEY_COLUMNS: usize = 8;

/// The rows of one table in the query.
#[derive(Debug, Clone, Default)]
pub(super) struct Summed {
    pub(super) name: String,
    /// Names of the columns whose values are stored.
    pub(super) columns: Vec<String>,
    /// A name for the rowid; `None` if the table has no rowid.
    pub(super) rowid: Option<String>,
    /// Key that identifies the rows if there is no rowid.
    pub(super) key: Vec<String>,
    /// True for a virtual table, which does not support `NOT INDEXED`.
    pub(super) is_virtual: bool,
    /// Condition for the rows that are counted.
    pub(super) condition: Option<&'static str>,
}

impl Summed {
    /// Returns the statements that add up the rows after the rowid `after`, at most `limit` of them.
    ///
    /// Every result is text after a `t`. The first three of the first statement are the number of rows, the last rowid
    /// or nothing, and the sum of the rowids; then come two for each column, the sum and the bytes of texts and blobs.
    pub(super) fn statements(
        &self,
        after: Option<i64>,
        limit: Option<u64>,
        has_atan2: bool,
    ) -> Vec<String> {
        let chunk = |columns: &[String]| self.statement(columns, after, limit, has_atan2);
        match self.columns.is_empty() {
            true => vec![chunk(&[])],
            false => self
                .columns
                .chunks(COLUMNS_PER_STATEMENT)
                .map(chunk)
                .collect(),
        }
    }

    fn statement(
        &self,
        columns: &[String],
        after: Option<i64>,
        limit: Option<u64>,
        has_atan2: bool,
    ) -> String {
        let mut results =
            "'t'||count(*),'t'||coalesce(max(k),''),'t'||coalesce(sum(k%p),0)".to_owned();
        let mut hashes = format!("p,k,{} AS w", self.weight(has_atan2));
        let mut values = "p,s,k".to_owned();
        let rowid = self.rowid.as_deref().unwrap_or("NULL");
        let mut raw = format!("2147483647 AS p,4611686018427387904 AS s,{rowid} AS k");
        for (at, column) in columns.iter().enumerate() {
            results.push_str(&format!(
                ",'t'||coalesce(sum(h{at}%p*w%p),0),'t'||coalesce(sum(n{at}),0)"
            ));
            let hash = hash_of(&format!("v{at}"), &format!("t{at}"), has_atan2);
            hashes.push_str(&format!(
                ",{hash} AS h{at},CASE WHEN t{at} IN ('t','b') THEN length(v{at}) ELSE 0 END AS n{at}"
            ));
            values.push_str(&value_of(&format!("c{at}"), &format!("{at}")));
            raw.push_str(&format!(",{} AS c{at}", quoted(column)));
        }
        for (at, column) in self.weighing().iter().enumerate() {
            values.push_str(&value_of(&format!("ck{at}"), &format!("k{at}")));
            raw.push_str(&format!(",{} AS ck{at}", quoted(column)));
        }
        // A LIMIT keeps SQLite from substituting one level's terms into the next, where each occurs several times.
        format!(
            "SELECT {results} FROM (SELECT {hashes} FROM (SELECT {values} FROM (SELECT {raw} FROM {}) LIMIT -1) LIMIT -1)",
            self.rows(after, limit)
        )
    }

    /// SQL after `FROM`.
    fn rows(&self, after: Option<i64>, limit: Option<u64>) -> String {
        let mut sql = quoted(&self.name);
        if !self.is_virtual {
            sql.push_str(" NOT INDEXED");
        }
        let rowid = self.rowid.as_deref().unwrap_or_default();
        let after = after.map(|after| format!("{rowid}>{after}"));
        let conditions: Vec<String> = after
            .into_iter()
            .chain(self.condition.map(str::to_owned))
            .collect();
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        match limit {
            Some(limit) if self.rowid.is_some() => format!("{sql} ORDER BY {rowid} LIMIT {limit}"),
            _ => format!("{sql} LIMIT -1"),
        }
    }

    /// Columns that determine the weight of a row without a rowid.
    fn weighing(&self) -> &[String] {
        match self.rowid {
            Some(_) => &[],
            None => &self.key[..self.key.len().min(KEY_COLUMNS)],
        }
    }

    fn weight(&self, has_atan2: bool) -> String {
        let mut key = "k".to_owned();
        if self.rowid.is_none() {
            key = "1".to_owned();
            for at in 0..self.weighing().len() {
                let hash = hash_of(&format!("vk{at}"), &format!("tk{at}"), has_atan2);
                key = format!("({key}*1009+({hash})%p)%p");
            }
        }
        format!("abs({key}%2147483629)+17")
    }
}

/// SQL for the value to hash as `v<at>`, and the letter of its type as `t<at>`: bytes of texts and blobs, and reals
/// scaled by a power of two so that their bits are before the point or within 62 after it.
fn value_of(c: &str, at: &str) -> String {
    format!(
        ",CASE typeof({c}) WHEN 'real' THEN CASE WHEN {c}=0.0 THEN {c} WHEN abs({c})<1e-59 THEN 3.0 \
         WHEN abs({c})<4.8e-41 THEN {c}*s*s*s WHEN abs({c})<2.2e-22 THEN {c}*s*s WHEN abs({c})<1e-3 THEN {c}*s \
         WHEN abs({c})<4e18 THEN {c} WHEN abs({c})<1.9e37 THEN {c}/s WHEN abs({c})<8e55 THEN {c}/s/s \
         WHEN abs({c})<4e74 THEN {c}/s/s/s WHEN {c}<0 THEN -5.0 ELSE 5.0 END \
         WHEN 'integer' THEN {c} WHEN 'null' THEN NULL ELSE CAST({c} AS BLOB) END AS v{at},substr(typeof({c}),1,1) AS t{at}"
    )
}

/// SQL for a number that represents the value `v` of type `t`; `p` is a prime, `s` is 2^62.
fn hash_of(v: &str, t: &str, has_atan2: bool) -> String {
    // Seven bytes as an integer: SQLite's JSON accepts hexadecimal numbers.
    let bytes = |from: &str| format!("(('0x0'||hex(substr({v},{from},7)))->>'$')");
    let (first, second, third, last) = (bytes("1"), bytes("8"), bytes("15"), bytes("-7"));
    let middle = bytes(&format!("length({v})/2-3"));
    let chosen = bytes(&format!("1+{first}%length({v})"));
    let minus_zero = match has_atan2 {
        true => format!("+CASE WHEN {v}=0.0 AND atan2({v},-1)<0 THEN 1 ELSE 0 END"),
        false => String::new(),
    };
    format!(
        "CASE {t} WHEN 'i' THEN {v}%p+({v}>>32)*31+1 WHEN 'n' THEN 7 \
         WHEN 'r' THEN CAST({v} AS INTEGER)%p*3+CAST(({v}-CAST({v} AS INTEGER))*s AS INTEGER)%p*5+2{minus_zero} \
         ELSE unicode({t})*(length({v})+1)+{first}%p*13\
         +CASE WHEN length({v})>7 THEN {last}%p*17+CASE WHEN length({v})>14 THEN {second}%p*19+CASE WHEN length({v})>21 \
         THEN {third}%p*23+CASE WHEN length({v})>28 THEN {middle}%p*29+{chosen}%p*31\
         +length(CAST(replace({v},char(13),'') AS BLOB))*37+length(CAST(replace({v},char(65533),'') AS BLOB))*41\
         +instr({v},X'00')*43 ELSE 0 END ELSE 0 END ELSE 0 END ELSE 0 END END"
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use rusqlite::types::Value;

    use crate::crosscheck::cloud::{CloudInventory, CloudPlan, ask};

    struct Dice(u64);

    impl Dice {
        fn bits(&mut self) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0 ^ (self.0 >> 29)
        }

        fn below(&mut self, limit: u64) -> usize {
            usize::try_from(self.bits() % limit).unwrap()
        }

        /// Returns a value, and one that is nearly the same.
        fn pair(&mut self) -> (Value, Value) {
            match self.below(5) {
                0 => {
                    let number = self.bits().cast_signed() >> self.below(64);
                    let step = 1 << self.below(12);
                    (
                        Value::Integer(number),
                        Value::Integer(number.wrapping_add(step)),
                    )
                }
                1 => {
                    let exponent = i32::try_from(self.below(430)).unwrap() - 190;
                    let real = f64::from_bits(0x3ff0_0000_0000_0000 | self.bits() >> 12)
                        * 2f64.powi(exponent);
                    let real = if self.below(2) == 0 { real } else { -real };
                    let next = f64::from_bits(real.to_bits() ^ 1);
                    (Value::Real(real), Value::Real(next))
                }
                2 => {
                    let number = i64::try_from(self.below(1 << 40)).unwrap();
                    #[allow(clippy::cast_precision_loss, reason = "it has 40 bits")]
                    (Value::Integer(number), Value::Real(number as f64))
                }
                3 => {
                    let bytes: Vec<u8> = (0..1 + self.below(28))
                        .map(|_| self.bits().to_be_bytes()[3])
                        .collect();
                    let mut other = bytes.clone();
                    let at = self.below(bytes.len() as u64);
                    other[at] ^= 1 << self.below(8);
                    (Value::Blob(bytes), Value::Blob(other))
                }
                _ => {
                    let length = self.below(60);
                    let text: String = (0..length)
                        .map(|_| char::from(b'a' + self.bits().to_be_bytes()[3] % 26))
                        .collect();
                    (Value::Text(text.clone()), Value::Blob(text.into_bytes()))
                }
            }
        }
    }

    fn differ(db: &Connection, change: impl Fn()) -> bool {
        let before = CloudInventory::take(db, true, &[]).unwrap();
        change();
        !before.compare(&before.of_copy(db).unwrap(), &[]).is_empty()
    }

    #[test]
    fn no_two_values_that_are_nearly_the_same_add_up_to_the_same() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (0)")
            .unwrap();
        let mut dice = Dice(20_261_130);
        for _ in 0..3_000 {
            let (value, other) = dice.pair();
            db.execute("UPDATE t SET a = ?1", [&value]).unwrap();
            let change = || {
                db.execute("UPDATE t SET a = ?1", [&other]).unwrap();
            };
            assert!(differ(&db, change), "{value:?} and {other:?}");
        }
    }

    #[test]
    fn values_that_changed_places_do_not_add_up_to_the_same() {
        for table in [
            "CREATE TABLE t(k, a, b)",
            "CREATE TABLE t(k PRIMARY KEY, a, b) WITHOUT ROWID",
        ] {
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch(&format!(
                "{table}; INSERT INTO t VALUES (1, 0, 0), (2, 0, 0)"
            ))
            .unwrap();
            let mut dice = Dice(7);
            for _ in 0..300 {
                let (value, other) = dice.pair();
                db.execute("UPDATE t SET a = ?1, b = ?2 WHERE k = 1", [&value, &other])
                    .unwrap();
                db.execute("UPDATE t SET a = ?2, b = ?1 WHERE k = 2", [&value, &other])
                    .unwrap();
                let turn = "UPDATE t SET a = b, b = a WHERE k = 1";
                let swap = "UPDATE t SET a = (SELECT a FROM t AS o WHERE o.k <> t.k)";
                for sql in [turn, turn, swap] {
                    let change = || {
                        db.execute(sql, []).unwrap();
                    };
                    assert!(differ(&db, change), "{sql}: {value:?} and {other:?}");
                }
            }
        }
    }

    #[test]
    fn the_statements_keep_to_the_limits_of_d1() {
        let name = "x".repeat(100);
        let columns: Vec<String> = (0..100).map(|at| format!("\"{name}{at}\"")).collect();
        let db = Connection::open_in_memory().unwrap();
        let columns = columns.join(",");
        db.execute_batch(&format!("CREATE TABLE t({columns}); CREATE TABLE w({columns}, PRIMARY KEY({columns})) WITHOUT ROWID"))
            .unwrap();
        let schema: Vec<_> = CloudPlan::SCHEMA
            .iter()
            .map(|sql| ask(&db, sql).unwrap())
            .collect();
        let statements = CloudPlan::new(&schema, &[]).unwrap().statements(true);
        assert!(statements.len() > 8, "{}", statements.len());
        for sql in statements {
            assert!(sql.len() < 100_000, "{}", sql.len());
            let statement = db.prepare(&sql).unwrap();
            assert!(
                statement.column_count() <= 100,
                "{}",
                statement.column_count()
            );
        }
    }
}
