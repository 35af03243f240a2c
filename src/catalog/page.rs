//! Lists the downloadable copies of this installation in pages. Invariant: the cost of a page depends on its length,
//! not on the length of the list.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use crate::types::{BackupDate, DatabaseName, EvidenceClass, Exception, Manifest, ObjectKey};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::order::OTHERS;
use super::record::StoredArchive;
use super::row::{integer, number, optional_number, optional_parsed, parsed, time};
use super::states::{ARCHIVES, ListedState, OWN_RANK, SOUND_ARCHIVE, StateFilter, doubtful};

/// Filter and start of a page of copies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageFilter {
    /// Only copies of this database.
    pub database: Option<DatabaseName>,
    /// Only copies of this day.
    pub date: Option<BackupDate>,
    /// Only copies after this key: the last one of the previous page.
    pub after: Option<ObjectKey>,
    /// Only copies in such a state.
    pub states: StateFilter,
    /// Upper bound for the number of copies.
    pub limit: usize,
}

/// Listed copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key, or former key if only its archive is left.
    pub key: ObjectKey,
    /// The database.
    pub database: DatabaseName,
    /// Day of the backup.
    pub date: BackupDate,
    /// Stored bytes; for a copy only in an archive, the bytes of its text.
    pub size_bytes: u64,
    /// Number of tables.
    pub table_count: u64,
    /// Number of rows.
    pub row_count: u64,
    /// Time at which the copy was made, to the second, also if only its archive is left.
    pub created_at: DateTime<Utc>,
    /// Time from which expiry may consider it, or its archive.
    pub expires_at: DateTime<Utc>,
    /// Archive that alone holds it undamaged, or at all; `None`: it is an object of its own.
    pub archive: Option<ObjectKey>,
    /// State of the copy.
    pub state: ListedState,
    /// Proof of the copy. `None`: its manifest is unknown.
    pub proof: Option<ListedProof>,
}

/// Proof of a listed copy, from its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProof {
    /// Evidence class.
    pub class: EvidenceClass,
    /// True if the independent check compared it.
    pub is_checked: bool,
    /// Reason for its form, if the configuration left the choice.
    pub method_reason: Option<String>,
    /// Parts of its source that it does not carry, or not equally.
    pub exceptions: Vec<Exception>,
}

impl ListedProof {
    fn of(manifest: &Manifest) -> Self {
        Self {
            class: manifest.class,
            is_checked: manifest.check.is_some(),
            method_reason: manifest.source.method_reason.clone(),
            exceptions: manifest.exceptions.clone(),
        }
    }

    /// Reads the part of the manifest that a query extracts, so that the rest is not read.
    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let Some(text) = row.get::<_, Option<String>>("proof")? else {
            return Ok(None);
        };
        let told = |error: serde_json::Error| FromSqlError::Other(error.into());
        let (class, is_checked, method_reason, exceptions): (_, u8, _, Option<Vec<_>>) =
            serde_json::from_str(&text).map_err(told)?;
        Ok(Some(Self {
            class,
            is_checked: is_checked == 1,
            method_reason,
            exceptions: exceptions.unwrap_or_default(),
        }))
    }
}

/// Columns of a copy's manifest that [`ListedProof::read`] parses.
const PROOF: &str = "json_array(class, json_type(manifest, '$.check') IS NOT NULL,
    json_extract(manifest, '$.source.method_reason'), json(json_extract(manifest, '$.exceptions')))";

/// Prefix of every copy's key.
const ALL_DAYS: &str = "daily/";

const OWN: &str = "
    FROM backup_inventory AS item
    WHERE deleted_at IS NULL AND r2_key >= ? AND r2_key < ?";

/// Same as [`OWN`], answered from an index alone: it covers every name and key, and has no date.
const OWN_OF_ALL_DAYS: &str = "
    FROM backup_inventory AS item INDEXED BY idx_inventory_page
    WHERE deleted_at IS NULL AND r2_key >= ? AND r2_key < ?";

/// Copies that only archives hold. It needs [`ARCHIVES`].
const INSIDE: &str = "
    FROM archive_members AS member CROSS JOIN ranks ON ranks.r2_key = member.archive_key
    WHERE member.r2_key >= ? AND member.r2_key < ?
        AND NOT EXISTS (SELECT 1 FROM backup_inventory AS own
            WHERE own.r2_key = member.r2_key AND own.deleted_at IS NULL)";

impl Catalog {
    /// Returns one page of downloadable copies, the newest day first: each copy once, as an object of its own or inside
    /// an archive.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn page(&self, filter: &PageFilter) -> Result<Vec<Listed>, CatalogError> {
        let rest = Bounds::of(filter);
        let mut copies = self.read(|connection| {
            let mut copies = own(connection, &rest, filter.limit)?;
            copies.extend(inside(connection, &rest, filter.limit)?);
            copies.sort_by(|one, other| other.key.as_str().cmp(one.key.as_str()));
            copies.truncate(filter.limit);
            Ok(copies)
        })?;
        self.complete(&mut copies)?;
        Ok(copies)
    }

    /// Returns the number of copies on all pages of this filter, ignoring `after` and `limit`. Its cost grows with that
    /// number.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn count(&self, filter: &PageFilter) -> Result<u64, CatalogError> {
        let bounds = Bounds::of(&PageFilter {
            after: None,
            ..filter.clone()
        });
        self.read(|connection| bounds.count(connection))
    }

    /// Fills in facts that only the archives' manifests contain.
    fn complete(&self, copies: &mut [Listed]) -> Result<(), CatalogError> {
        let mut known: BTreeMap<ObjectKey, Option<StoredArchive>> = BTreeMap::new();
        for copy in copies {
            let Some(key) = &copy.archive else { continue };
            if !known.contains_key(key) {
                known.insert(key.clone(), self.archive(key)?);
            }
            let archive = known.get(key).and_then(Option::as_ref);
            let members = archive
                .into_iter()
                .flat_map(|archive| &archive.manifest.members);
            let mut members = members.map(|member| &member.manifest);
            if let Some(manifest) = members.find(|manifest| manifest.key == copy.key) {
                copy.size_bytes = manifest.plain.size_bytes;
                copy.table_count = manifest.evidence.tables.len() as u64;
                copy.row_count = manifest.evidence.total_rows();
                copy.proof = Some(ListedProof::of(manifest));
                copy.created_at = manifest.completed().unwrap_or(copy.created_at);
            }
        }
        Ok(())
    }
}

/// Number of restorable copies, of all databases and days.
pub(super) fn count_restorable(connection: &Connection) -> Result<u64, Stop> {
    Bounds::of(&PageFilter::default()).count(connection)
}

/// Range of keys of a query. Keys begin with the day, so that their order is that of days.
#[derive(Debug)]
struct Bounds {
    from: String,
    until: String,
    database: Option<String>,
    states: StateFilter,
}

impl Bounds {
    fn of(filter: &PageFilter) -> Self {
        // `0` is the character after `/`.
        let (from, until) = match filter.date {
            None => (ALL_DAYS.to_owned(), "daily0".to_owned()),
            Some(date) => (format!("daily/{date}/"), format!("daily/{date}0")),
        };
        let after = filter.after.as_ref().map(|key| key.as_str().to_owned());
        Self {
            from,
            until: after
                .into_iter()
                .chain([until.clone()])
                .min()
                .unwrap_or(until),
            database: filter.database.as_ref().map(ToString::to_string),
            states: filter.states,
        }
    }

    /// Appends the conditions of this range to a query; returns it with its arguments.
    fn narrowed(&self, sql: &str) -> (String, Vec<&dyn ToSql>) {
        let mut sql = sql.to_owned();
        let mut arguments: Vec<&dyn ToSql> = vec![&self.from, &self.until];
        if let Some(database) = &self.database {
            sql.push_str(" AND database_name = ?");
            arguments.push(database);
        }
        (sql, arguments)
    }

    fn count(&self, connection: &Connection) -> Result<u64, Stop> {
        let own = match self.states {
            StateFilter::All => {
                let all = self.count_own(connection, "")?;
                all.saturating_sub(self.count_among(connection, OTHERS, "")?)
            }
            // Most copies are restorable, and an index finds the others.
            StateFilter::Restorable => {
                let all = self.count_own(connection, "")?;
                all.saturating_sub(self.count_doubtful(connection)?)
            }
            StateFilter::One(_) => {
                let condition = format!("AND {} IN ({})", rank(), self.states.ranks());
                self.count_own(connection, &condition)?
            }
        };
        let (inside, arguments) = self.narrowed(INSIDE);
        let inside = format!(
            "{ARCHIVES} SELECT count(*) AS number FROM (
                 SELECT member.r2_key {inside} GROUP BY member.r2_key HAVING min(rank) IN ({}))",
            self.states.ranks()
        );
        Ok(own + connection.query_row(&inside, params_from_iter(arguments), counted)?)
    }

    fn count_own(&self, connection: &Connection, condition: &str) -> Result<u64, Stop> {
        let (from, arguments) = self.narrowed(match self.from.as_str() {
            ALL_DAYS => OWN_OF_ALL_DAYS,
            _ => OWN,
        });
        let sql = format!("{ARCHIVES} SELECT count(*) AS number {from} {condition}");
        Ok(connection.query_row(&sql, params_from_iter(arguments), counted)?)
    }

    /// Number of copies that are not restorable.
    fn count_doubtful(&self, connection: &Connection) -> Result<u64, Stop> {
        let (rank, ranks) = (rank(), StateFilter::Restorable.ranks());
        let condition = format!("AND {rank} NOT IN ({ranks})");
        self.count_among(connection, &doubtful(), &condition)
    }

    /// Counts copies among a few keys, without reading all others.
    fn count_among(
        &self,
        connection: &Connection,
        keys: &str,
        condition: &str,
    ) -> Result<u64, Stop> {
        let (from, arguments) = self.narrowed(&format!(
            "FROM (SELECT DISTINCT r2_key FROM {keys}) AS few
             CROSS JOIN backup_inventory AS item ON item.r2_key = few.r2_key
             WHERE deleted_at IS NULL AND item.r2_key >= ? AND item.r2_key < ?"
        ));
        let sql = format!("{ARCHIVES} SELECT count(*) AS number {from} {condition}");
        Ok(connection.query_row(&sql, params_from_iter(arguments), counted)?)
    }
}

fn counted(row: &Row<'_>) -> rusqlite::Result<u64> {
    number(row, "number")
}

/// Rank of the copy `item`: an undamaged archive replaces a damaged object. Copies of other installations have a rank
/// that no filter accepts.
fn rank() -> String {
    format!(
        "CASE WHEN item.r2_key IN {OTHERS} THEN 9
             WHEN {OWN_RANK} >= 3 AND {SOUND_ARCHIVE} IS NOT NULL THEN 0 ELSE {OWN_RANK} END"
    )
}

fn own(connection: &Connection, bounds: &Bounds, limit: usize) -> Result<Vec<Listed>, Stop> {
    let (from, mut arguments) = bounds.narrowed(OWN);
    let (rank, ranks) = (rank(), bounds.states.ranks());
    let sql = format!(
        "{ARCHIVES} SELECT found.*, coalesce(whole.expires_at, found.own_expires_at) AS expires_at FROM (
             SELECT r2_key, database_name, backup_date, size_bytes, table_count, created_at,
                 expires_at AS own_expires_at, {rank} AS rank,
                 iif({OWN_RANK} >= 3, {SOUND_ARCHIVE}, NULL) AS archive_key,
                 (SELECT row_count FROM copies WHERE copies.r2_key = item.r2_key LIMIT 1) AS row_count,
                 (SELECT {PROOF} FROM copies WHERE copies.r2_key = item.r2_key LIMIT 1) AS proof
             {from} AND {rank} IN ({ranks}) ORDER BY r2_key DESC LIMIT ?) AS found
         LEFT JOIN backup_inventory AS whole ON whole.r2_key = found.archive_key"
    );
    let limit = integer(limit as u64);
    arguments.push(&limit);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(arguments), |row| {
        Ok(Listed {
            archive: optional_parsed(row, "archive_key")?,
            size_bytes: number(row, "size_bytes")?,
            table_count: optional_number(row, "table_count")?.unwrap_or_default(),
            row_count: optional_number(row, "row_count")?.unwrap_or_default(),
            proof: ListedProof::read(row)?,
            ..listed(row)?
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Selects copies inside archives. Sizes, counts and times are filled in later. Of several archives an undamaged one is
/// taken, and of those the newest.
fn inside(connection: &Connection, bounds: &Bounds, limit: usize) -> Result<Vec<Listed>, Stop> {
    let (from, mut arguments) = bounds.narrowed(INSIDE);
    let ranks = bounds.states.ranks();
    let sql = format!(
        "{ARCHIVES} SELECT found.*, item.created_at, item.expires_at FROM (
             SELECT member.r2_key, member.database_name, member.backup_date,
                 substr(max((4 - rank) || archive_key), 2) AS archive_key, min(rank) AS rank
             {from} GROUP BY member.r2_key HAVING min(rank) IN ({ranks})
             ORDER BY member.r2_key DESC LIMIT ?) AS found
         JOIN backup_inventory AS item ON item.r2_key = found.archive_key"
    );
    let limit = integer(limit as u64);
    arguments.push(&limit);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(arguments), |row| {
        Ok(Listed {
            archive: Some(parsed(row, "archive_key")?),
            ..listed(row)?
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Fields common to all rows.
fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        key: parsed(row, "r2_key")?,
        database: parsed(row, "database_name")?,
        date: parsed(row, "backup_date")?,
        size_bytes: 0,
        table_count: 0,
        row_count: 0,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        archive: None,
        state: ListedState::ranked(number(row, "rank")?),
        proof: None,
    })
}
