//! Stores weekly archives: those that wait for upload, those in the storages, and their members.

use std::os::unix::ffi::OsStrExt;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params, params};

use crate::types::{ArchiveManifest, BackupDate, DatabaseName, ObjectKey};

use super::Catalog;
use super::conditions::end;
use super::error::{CatalogError, Stop};
use super::events::insert_event;
use super::order::{AHEAD, NEWEST_FIRST, UNCONFIRMED, insert_member, is_confirmed, is_ours};
use super::query::{PLACEMENT, placement_of, select_copies};
use super::record::{CommittedArchive, Event, Held, Packed, StoredArchive, StoredCopy};
use super::row::{integer, manifest, manifest_text, parsed, path, time};
use super::telling;

/// Placeholder in the inventory's database column for an object with several databases; no name contains a star.
pub(super) const ALL_DATABASES: &str = "*";

/// Query for [`Catalog::held`]. Copies marked for deletion are ignored; a copy that only an unmarked archive contains
/// counts as archived. No archive contains a suspect copy, and suspect copies come after sound ones.
fn held_sql() -> String {
    format!(
        "WITH unmarked AS (
            SELECT r2_key, backup_date, max(class = 'S') AS is_suspect FROM copies AS copy
            WHERE database_name = ?1 AND {copy_is_ours} AND NOT EXISTS (
                SELECT 1 FROM backup_inventory AS item
                WHERE item.r2_key = copy.r2_key AND item.deleted_at IS NOT NULL)
            GROUP BY r2_key),
        held AS (
            SELECT r2_key, backup_date, 0 AS is_archived, is_suspect FROM unmarked
            WHERE ?2 IS NULL OR backup_date = ?2
            UNION ALL
            SELECT DISTINCT r2_key, backup_date, 1, 0 FROM archive_members AS member
            WHERE database_name = ?1 AND (?2 IS NULL OR backup_date = ?2)
                AND NOT EXISTS (SELECT 1 FROM unmarked WHERE unmarked.r2_key = member.r2_key)
                AND NOT EXISTS (SELECT 1 FROM backup_inventory AS item
                    WHERE item.r2_key = member.archive_key AND item.deleted_at IS NOT NULL)
                AND EXISTS (SELECT 1 FROM archives AS archive
                    WHERE archive.r2_key = member.archive_key AND {archive_is_ours}))
        SELECT held.*, coalesce(made.doubt, 0) AS doubt, coalesce(made.place, 0) AS place,
            coalesce(made.at, 0) AS at
        FROM held LEFT JOIN made USING (r2_key) ORDER BY is_suspect, {NEWEST_FIRST} LIMIT ?3",
        copy_is_ours = is_ours("copy"),
        archive_is_ours = is_ours("archive"),
    )
}

impl Catalog {
    /// Returns the copies for the next archive: good ones that this installation committed up to `until` and that no
    /// live archive holds, by database and day.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unarchived(&self, until: BackupDate) -> Result<Vec<StoredCopy>, CatalogError> {
        let sql = format!(
            "SELECT r2_key FROM copies AS copy
             WHERE backup_date <= ?1 AND class IN ('A', 'B') AND NOT incomplete
                AND instance = (SELECT id FROM instance) AND {copy_is_confirmed}
                AND NOT EXISTS (SELECT 1 FROM archive_members AS member
                    JOIN archives AS archive ON archive.r2_key = member.archive_key
                    WHERE member.r2_key = copy.r2_key AND archive.state = 'live'
                        AND {archive_is_confirmed})
                AND NOT EXISTS (SELECT 1 FROM backup_inventory AS item
                    WHERE item.r2_key = copy.r2_key AND item.deleted_at IS NOT NULL)
             GROUP BY r2_key ORDER BY database_name, backup_date, r2_key",
            copy_is_confirmed = is_confirmed("copy"),
            archive_is_confirmed = is_confirmed("archive"),
        );
        self.read(|connection| select_copies(connection, &sql, params![until.to_string()]))
    }

    /// Returns all archives, the newest week first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn archives(&self) -> Result<Vec<StoredArchive>, CatalogError> {
        let sql = "SELECT DISTINCT r2_key FROM archives ORDER BY week DESC, r2_key DESC";
        self.read(|connection| select_archives(connection, sql, params![]))
    }

    /// Returns one archive. `None`: the key is unknown.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn archive(&self, key: &ObjectKey) -> Result<Option<StoredArchive>, CatalogError> {
        let sql = "SELECT DISTINCT r2_key FROM archives WHERE r2_key = ?";
        let found =
            self.read(|connection| select_archives(connection, sql, params![key.as_str()]))?;
        Ok(found.into_iter().next())
    }

    /// Returns the archives that contain a daily copy, the newest first, no matter if the daily object still exists.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn archives_of(&self, daily: &ObjectKey) -> Result<Vec<StoredArchive>, CatalogError> {
        let sql = "SELECT DISTINCT archive.r2_key FROM archives AS archive
                   JOIN archive_members AS member ON member.archive_key = archive.r2_key
                   WHERE member.r2_key = ? ORDER BY archive.week DESC, archive.r2_key DESC";
        self.read(|connection| select_archives(connection, sql, params![daily.as_str()]))
    }

    /// Returns the dumps of a database that this installation stored anywhere and that are not marked for deletion, the
    /// last made first; copies of a damaged source come after all others.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn held(
        &self,
        database: &DatabaseName,
        date: Option<BackupDate>,
        limit: Option<usize>,
    ) -> Result<Vec<Held>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare(&held_sql())?;
            let arguments = params![
                database.as_str(),
                date.map(|date| date.to_string()),
                limit.map_or(-1, |limit| integer(limit as u64)),
            ];
            let rows = statement.query_map(arguments, |row| {
                Ok(Held {
                    key: parsed(row, "r2_key")?,
                    date: parsed(row, "backup_date")?,
                    is_archived: row.get("is_archived")?,
                    is_suspect: row.get("is_suspect")?,
                    is_ahead: row.get::<_, i64>("doubt")? == AHEAD,
                    is_unconfirmed: row.get::<_, i64>("doubt")? == UNCONFIRMED,
                    order: (row.get("place")?, row.get("at")?),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Records that a proven archive is about to be stored, so that a restart can continue with it.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn pack(&self, packed: &Packed) -> Result<(), CatalogError> {
        let sql = "INSERT INTO packed (r2_key, path, manifest) VALUES (?, CAST(? AS TEXT), ?)
                   ON CONFLICT (r2_key) DO UPDATE SET path = excluded.path, manifest = excluded.manifest";
        self.write(|transaction| {
            transaction.execute(
                sql,
                params![
                    packed.manifest.key.as_str(),
                    // A path need not be UTF-8; SQLite keeps the bytes unchanged.
                    packed.path.as_os_str().as_bytes(),
                    manifest_text(&packed.manifest),
                ],
            )?;
            Ok(())
        })
    }

    /// Returns the archives that wait to be stored.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn packed(&self) -> Result<Vec<Packed>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT * FROM packed ORDER BY r2_key")?;
            let rows = statement.query_map([], |row| {
                Ok(Packed {
                    path: path(row)?,
                    manifest: manifest(row)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Removes an archive that waits to be stored, because its file is gone or changed, or no storage accepts it.
    ///
    /// # Errors
    /// If the row cannot be removed.
    pub fn discard_packed(&self, key: &ObjectKey) -> Result<(), CatalogError> {
        self.write(|transaction| delete_packed(transaction, key))
    }

    /// Commits an archive that was stored in storages and read back there: writes inventory, archives and members, and
    /// removes its `packed` row. An archive of which only samples were read back is not verified, so no daily copy
    /// expires on the strength of it.
    ///
    /// # Errors
    /// [`CatalogError::Unstored`] without a storage, [`CatalogError::Conflict`] if another content is known under
    /// the key; also if the rows cannot be written.
    pub fn commit_archive(
        &self,
        committed: &CommittedArchive<'_>,
        events: &[Event],
    ) -> Result<(), CatalogError> {
        let (manifest, at) = (committed.manifest, committed.completed_at);
        if committed.storages.is_empty() {
            let key = manifest.key.clone();
            return Err(CatalogError::Unstored { key });
        }
        // Taken from the manifest, so that a catalog rebuilt from the storages has the same time.
        let created = manifest.completed().unwrap_or(at);
        let verified = committed.is_read_whole.then_some(at);
        self.write(|transaction| {
            insert_inventory(transaction, manifest, created, committed.expires_at)?;
            for member in &manifest.members {
                insert_member(transaction, &member.manifest, created, 0)?;
            }
            for storage in committed.storages {
                insert_archive(transaction, manifest, storage, created, verified)?;
            }
            delete_packed(transaction, &manifest.key)?;
            events
                .iter()
                .try_for_each(|event| insert_event(transaction, event))?;
            end(transaction, &telling::packed(manifest, at)).map(drop)
        })
    }
}

pub(super) fn select_archives(
    connection: &Connection,
    sql: &str,
    arguments: &[&dyn rusqlite::ToSql],
) -> Result<Vec<StoredArchive>, Stop> {
    let mut keys = connection.prepare(sql)?;
    let keys = keys.query_map(arguments, |row| row.get::<_, String>(0))?;
    let mut placements = connection.prepare(&format!(
        "SELECT {PLACEMENT}, created_at, manifest FROM archives WHERE r2_key = ? ORDER BY storage"
    ))?;
    let mut archives = Vec::new();
    for key in keys {
        let mut rows = placements.query([key?])?;
        let first = rows.next()?.expect("the key was selected from these rows");
        let mut archive = StoredArchive {
            manifest: manifest(first)?,
            created_at: time(first, "created_at")?,
            placements: vec![placement_of(first)?],
        };
        while let Some(row) = rows.next()? {
            archive.placements.push(placement_of(row)?);
        }
        archives.push(archive);
    }
    Ok(archives)
}

pub(super) fn insert_inventory(
    connection: &Connection,
    manifest: &ArchiveManifest,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), Stop> {
    let last_day = manifest.members.iter().map(|member| member.manifest.date);
    let tables = manifest.members.iter();
    let tables = tables.map(|member| member.manifest.evidence.tables.len() as u64);
    connection.execute(
        "INSERT INTO backup_inventory (r2_key, database_name, backup_date, size_bytes, table_count,
            created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (r2_key) DO NOTHING",
        params![
            manifest.key.as_str(),
            ALL_DATABASES,
            last_day.max().map_or(String::new(), |day| day.to_string()),
            integer(manifest.stored.size_bytes),
            integer(tables.sum()),
            created_at.timestamp(),
            expires_at.timestamp(),
        ],
    )?;
    let sql = "INSERT INTO archive_members (archive_key, r2_key, database_name, backup_date)
               VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let mut statement = connection.prepare(sql)?;
    for member in &manifest.members {
        let daily = &member.manifest;
        statement.execute(params![
            manifest.key.as_str(),
            daily.key.as_str(),
            daily.database.as_str(),
            daily.date.to_string(),
        ])?;
    }
    Ok(())
}

pub(super) fn insert_archive(
    connection: &Connection,
    manifest: &ArchiveManifest,
    storage: &str,
    created_at: DateTime<Utc>,
    verified_at: Option<DateTime<Utc>>,
) -> Result<(), Stop> {
    let changed = connection.execute(
        "INSERT INTO archives (r2_key, storage, week, job_id, instance, state, stored_sha256,
            stored_bytes, created_at, verified_at, manifest)
         VALUES (:key, :storage, :week, :job, :instance, 'live', :sha256, :bytes, :created_at,
            :verified_at, :manifest)
         ON CONFLICT (r2_key, storage) DO UPDATE
            SET verified_at = coalesce(excluded.verified_at, verified_at),
                state = iif(excluded.verified_at IS NULL, state, 'live'),
                damage = iif(excluded.verified_at IS NULL, damage, NULL),
                damaged_at = iif(excluded.verified_at IS NULL, damaged_at, NULL)
            WHERE stored_sha256 = excluded.stored_sha256",
        named_params! {
            ":key": manifest.key.as_str(),
            ":storage": storage,
            ":week": manifest.week.to_string(),
            ":job": manifest.job.to_string(),
            ":instance": manifest.instance,
            ":sha256": manifest.stored.sha256.to_string(),
            ":bytes": integer(manifest.stored.size_bytes),
            ":created_at": created_at.timestamp(),
            ":verified_at": verified_at.map(|at| at.timestamp()),
            ":manifest": manifest_text(manifest),
        },
    )?;
    if changed == 0 {
        let (key, storage) = (manifest.key.clone(), storage.to_owned());
        return Err(CatalogError::Conflict { key, storage }.into());
    }
    Ok(())
}

fn delete_packed(connection: &Connection, key: &ObjectKey) -> Result<(), Stop> {
    connection.execute("DELETE FROM packed WHERE r2_key = ?", [key.as_str()])?;
    Ok(())
}
