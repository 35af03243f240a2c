//! Stores the facts that keep an object from expiry: marks, pins, freezes, leases, absences.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use crate::retention::{Guard, Guards};
use crate::types::{DatabaseName, ObjectKey};

use super::Catalog;
use super::conditions::{Raised, end, raise};
use super::error::{CatalogError, Stop};
use super::query::{PLACEMENT, marked, placement_of};
use super::record::{Event, Item, ItemContent, ItemMember};
use super::row::{number, optional_time, parsed, time};
use super::suspect::{Suspect, select_suspect};
use super::telling;
use super::write::table_of;

/// Facts that keep objects from expiry, besides the objects themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Care {
    /// Pinned keys.
    pub pinned: BTreeSet<ObjectKey>,
    /// Keys that are being read.
    pub leased: BTreeSet<ObjectKey>,
    /// Databases whose expiry waits for a person, with the reason.
    pub frozen: BTreeMap<DatabaseName, String>,
    /// Databases acknowledged by a person, with the time: earlier troubles do not block expiry.
    pub acknowledged: BTreeMap<DatabaseName, DateTime<Utc>>,
    /// Databases given up by a person: no copy of them is kept for being the last one.
    pub forgotten: BTreeSet<DatabaseName>,
    /// Databases whose newest copy is one of a damaged source.
    pub suspect: BTreeMap<DatabaseName, Suspect>,
    /// No deletion happens before this time.
    pub quiet_until: Option<DateTime<Utc>>,
}

/// Object, and the storage to delete it from.
pub type Removal = (ObjectKey, String);

/// Lease that was taken; it ends by itself at its time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a lease that is not released ends only at its time"]
pub struct Lease(Vec<i64>);

impl Catalog {
    /// Returns every object that lies in a storage, or should, in the order of keys.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn items(&self) -> Result<Vec<Item>, CatalogError> {
        self.read(|connection| {
            let marked = marked(connection)?;
            // `idx_copies_items` covers every column that is selected here: the manifests in the rows are not read.
            let copies =
                "class IN ('A', 'B') AND NOT incomplete, database_name, backup_date FROM copies";
            let mut items = select_items(connection, copies, &marked, |row, first| {
                Ok(ItemContent::Daily {
                    database: parsed(row, first)?,
                    date: parsed(row, first + 1)?,
                })
            })?;
            let members = select_members(connection)?;
            let archives = "1, week, r2_key FROM archives";
            items.extend(select_items(
                connection,
                archives,
                &marked,
                |row, first| {
                    Ok(ItemContent::Weekly {
                        week: parsed(row, first)?,
                        members: members
                            .get(row.get_ref(first + 1)?.as_str()?)
                            .cloned()
                            .unwrap_or_default(),
                    })
                },
            )?);
            Ok(items)
        })
    }

    /// Returns the facts that keep objects from expiry at `now`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn care(&self, now: DateTime<Utc>) -> Result<Care, CatalogError> {
        let now = now.timestamp();
        self.read(|connection| {
            let quiet = "SELECT max(until) AS until FROM quiet";
            Ok(Care {
                pinned: column(connection, "SELECT r2_key FROM pins", params![])?,
                leased: column(
                    connection,
                    "SELECT r2_key FROM leases WHERE until > ?",
                    params![now],
                )?,
                frozen: by_database(connection, "SELECT * FROM freezes", cause)?,
                acknowledged: by_database(connection, "SELECT * FROM acknowledged", |row| {
                    time(row, "at")
                })?,
                forgotten: column(connection, "SELECT database_name FROM forgotten", params![])?,
                suspect: select_suspect(connection)?,
                quiet_until: connection.query_row(quiet, [], |row| optional_time(row, "until"))?,
            })
        })
    }

    /// Marks objects for deletion: from now on no query returns them as good copies. Objects that were pinned or leased
    /// since they were chosen stay unmarked.
    ///
    /// # Errors
    /// If the rows cannot be written; nothing is marked then.
    pub fn mark(
        &self,
        keys: &[ObjectKey],
        at: DateTime<Utc>,
        guards: Guards,
    ) -> Result<(), CatalogError> {
        let sql = "UPDATE backup_inventory SET deleted_at = coalesce(deleted_at, ?2)
                   WHERE r2_key = ?1 AND NOT (?3 AND EXISTS (SELECT 1 FROM pins WHERE r2_key = ?1))
                      AND NOT (?4 AND EXISTS (SELECT 1 FROM leases WHERE r2_key = ?1 AND until > ?2))";
        let (pins, leases) = (guards.has(Guard::Pin), guards.has(Guard::Lease));
        self.write(|transaction| {
            let mut statement = transaction.prepare(sql)?;
            for key in keys {
                statement.execute(params![key.as_str(), at.timestamp(), pins, leases])?;
            }
            Ok(())
        })
    }

    /// Removes marks, except of objects whose deletion has begun.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn unmark(&self, keys: &[ObjectKey]) -> Result<(), CatalogError> {
        let sql = "UPDATE backup_inventory SET deleted_at = NULL
                   WHERE r2_key = ?1 AND NOT EXISTS (SELECT 1 FROM removals WHERE r2_key = ?1)";
        self.write(|transaction| {
            let mut statement = transaction.prepare(sql)?;
            for key in keys {
                statement.execute([key.as_str()])?;
            }
            Ok(())
        })
    }

    /// Records that the deletion of marked objects begins, each in one storage: from now on they are no copies any
    /// more. Returns the deletions that begin: objects pinned or leased since they were marked stay.
    ///
    /// # Errors
    /// If the rows cannot be written; nothing may be deleted then.
    pub fn begin_removals(
        &self,
        removals: &[Removal],
        at: DateTime<Utc>,
        guards: Guards,
    ) -> Result<Vec<Removal>, CatalogError> {
        let sql = "INSERT INTO removals (r2_key, storage) SELECT ?1, ?2
                   WHERE NOT (?4 AND EXISTS (SELECT 1 FROM pins WHERE r2_key = ?1))
                      AND NOT (?5 AND EXISTS (SELECT 1 FROM leases WHERE r2_key = ?1 AND until > ?3))
                   ON CONFLICT DO NOTHING";
        let (pins, leases) = (guards.has(Guard::Pin), guards.has(Guard::Lease));
        self.write(|transaction| {
            let mut statement = transaction.prepare(sql)?;
            let mut begun = Vec::new();
            for removal in removals {
                let (key, storage) = removal;
                let row = params![key.as_str(), storage, at.timestamp(), pins, leases];
                if statement.execute(row)? == 1 {
                    begun.push(removal.clone());
                }
            }
            Ok(begun)
        })
    }

    /// Removes deletions that had begun and deleted nothing.
    ///
    /// # Errors
    /// If the rows cannot be removed.
    pub fn cancel_removals(&self, removals: &[Removal]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            for removal in removals {
                delete_removal(transaction, removal)?;
            }
            Ok(())
        })
    }

    /// Returns the deletions that began and did not end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn removals(&self) -> Result<Vec<Removal>, CatalogError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT * FROM removals ORDER BY r2_key, storage")?;
            let rows =
                statement.query_map([], |row| Ok((parsed(row, "r2_key")?, row.get("storage")?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Records that marked objects were deleted, each from one storage.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn removed(&self, removals: &[Removal]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            for removal in removals {
                forget_placement(transaction, removal)?;
                delete_removal(transaction, removal)?;
            }
            Ok(())
        })
    }

    /// Pins an object: it is kept regardless of its age.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn pin(
        &self,
        key: &ObjectKey,
        reason: Option<&str>,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let sql = "INSERT INTO pins (r2_key, reason, created_at) VALUES (?, ?, ?)
                   ON CONFLICT (r2_key) DO UPDATE SET reason = excluded.reason";
        self.write(|transaction| {
            transaction.execute(sql, params![key.as_str(), reason, at.timestamp()])?;
            Ok(())
        })
    }

    /// Unpins an object. Returns false if it was not pinned.
    ///
    /// # Errors
    /// If the row cannot be removed.
    pub fn unpin(&self, key: &ObjectKey) -> Result<bool, CatalogError> {
        let sql = "DELETE FROM pins WHERE r2_key = ?";
        self.write(|transaction| Ok(transaction.execute(sql, [key.as_str()])? == 1))
    }

    /// Blocks expiry of a database until a person acknowledges; writes one event about it.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn freeze(&self, database: &DatabaseName, event: &Event) -> Result<(), CatalogError> {
        let sql = "INSERT INTO freezes (database_name, reason, created_at) VALUES (?, ?, ?)
                   ON CONFLICT (database_name) DO NOTHING";
        self.write(|transaction| {
            let row = params![database.as_str(), event.message, event.at.timestamp()];
            match transaction.execute(sql, row)? {
                0 => Ok(()),
                _ => {
                    let raised = Raised::once(event.clone(), database.as_str());
                    raise(transaction, &raised).map(drop)
                }
            }
        })
    }

    /// Acknowledges what was found up to now, so that expiry of a database resumes. Returns false if nothing blocked
    /// it.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn acknowledge(
        &self,
        database: &DatabaseName,
        now: DateTime<Utc>,
    ) -> Result<bool, CatalogError> {
        let sql = "INSERT INTO acknowledged (database_name, at) VALUES (?, ?)
                   ON CONFLICT (database_name) DO UPDATE SET at = excluded.at";
        self.write(|transaction| {
            transaction.execute(sql, params![database.as_str(), now.timestamp()])?;
            let thawed = transaction.execute(
                "DELETE FROM freezes WHERE database_name = ?",
                [database.as_str()],
            )?;
            end(transaction, &telling::acknowledged(database, now))?;
            Ok(thawed == 1)
        })
    }

    /// Gives up a database's copies: from now on none is kept for being the last one.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn forget(&self, database: &DatabaseName, at: DateTime<Utc>) -> Result<(), CatalogError> {
        let sql = "INSERT INTO forgotten (database_name, at) VALUES (?, ?) ON CONFLICT DO NOTHING";
        self.write(|transaction| {
            transaction.execute(sql, params![database.as_str(), at.timestamp()])?;
            Ok(())
        })
    }

    /// Reverts [`Catalog::forget`] for a database that is in the configuration again.
    ///
    /// # Errors
    /// If the row cannot be removed.
    pub fn remember(&self, database: &DatabaseName) -> Result<(), CatalogError> {
        let sql = "DELETE FROM forgotten WHERE database_name = ?";
        self.write(|transaction| {
            transaction.execute(sql, [database.as_str()])?;
            Ok(())
        })
    }

    /// Leases objects, so that they do not expire while they are read, until `until` at most. If the catalog is
    /// read-only, nothing expires either, and the lease is empty.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn lease(
        &self,
        keys: &[ObjectKey],
        holder: &str,
        until: DateTime<Utc>,
    ) -> Result<Lease, CatalogError> {
        let sql = "INSERT INTO leases (r2_key, holder, until) VALUES (?, ?, ?)";
        if self.is_read_only() {
            return Ok(Lease(Vec::new()));
        }
        self.write(|transaction| {
            let mut statement = transaction.prepare(sql)?;
            let ids = keys.iter().map(|key| {
                let row = params![key.as_str(), holder, until.timestamp()];
                Ok(statement.insert(row)?)
            });
            Ok(Lease(ids.collect::<Result<_, Stop>>()?))
        })
    }

    /// Extends a lease to `until`.
    ///
    /// # Errors
    /// If the rows cannot be written; the lease then ends at its time.
    pub fn prolong(&self, lease: &Lease, until: DateTime<Utc>) -> Result<(), CatalogError> {
        if self.is_read_only() {
            return Ok(());
        }
        self.write(|transaction| {
            let sql = "UPDATE leases SET until = ? WHERE id = ?";
            let mut statement = transaction.prepare(sql)?;
            for id in &lease.0 {
                statement.execute([until.timestamp(), *id])?;
            }
            Ok(())
        })
    }

    /// Releases a lease, and removes all that have ended at `now`.
    ///
    /// # Errors
    /// If the rows cannot be removed; the lease then ends at its time.
    pub fn release(&self, lease: Lease, now: DateTime<Utc>) -> Result<(), CatalogError> {
        if self.is_read_only() {
            return Ok(());
        }
        self.write(|transaction| {
            for id in lease.0 {
                transaction.execute("DELETE FROM leases WHERE id = ?", [id])?;
            }
            transaction.execute("DELETE FROM leases WHERE until <= ?", [now.timestamp()])?;
            Ok(())
        })
    }

    /// Releases the leases of a dead process for `holder`. Only the owner of the state lock knows that it is dead.
    ///
    /// # Errors
    /// If the rows cannot be removed.
    pub fn release_dead(&self, holder: &str) -> Result<(), CatalogError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM leases WHERE holder = ?", [holder])?;
            Ok(())
        })
    }

    /// Records that a storage lacks a known object; returns the time at which that was first seen.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn note_absence(
        &self,
        key: &ObjectKey,
        storage: &str,
        at: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, CatalogError> {
        let sql = "INSERT INTO absences (r2_key, storage, first_at) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET first_at = first_at RETURNING first_at";
        self.write(|transaction| {
            let row = params![key.as_str(), storage, at.timestamp()];
            Ok(transaction.query_row(sql, row, |row| time(row, "first_at"))?)
        })
    }

    /// Removes the absence of an object that the storage has.
    ///
    /// # Errors
    /// If the row cannot be removed.
    pub fn forget_absence(&self, key: &ObjectKey, storage: &str) -> Result<(), CatalogError> {
        let sql = "DELETE FROM absences WHERE r2_key = ? AND storage = ?";
        self.write(|transaction| {
            transaction.execute(sql, [key.as_str(), storage])?;
            Ok(())
        })
    }

    /// Blocks all deletions before `until`.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn keep_quiet(&self, until: DateTime<Utc>) -> Result<(), CatalogError> {
        let sql = "INSERT INTO quiet (one, until) VALUES (1, ?)
                   ON CONFLICT (one) DO UPDATE SET until = max(until, excluded.until)";
        self.write(|transaction| {
            transaction.execute(sql, [until.timestamp()])?;
            Ok(())
        })
    }
}

/// Selects one item per key, in the order of keys; its placements by storage name. `sql` selects first if an object is
/// good, and then the columns that `content` reads, beginning at the given index.
fn select_items(
    connection: &Connection,
    sql: &str,
    marked: &HashMap<String, DateTime<Utc>>,
    mut content: impl FnMut(&Row<'_>, usize) -> rusqlite::Result<ItemContent>,
) -> Result<Vec<Item>, Stop> {
    let mut statement = connection.prepare(&format!(
        "SELECT {PLACEMENT}, r2_key, instance, stored_bytes, created_at, {sql} ORDER BY r2_key, storage"
    ))?;
    let mut rows = statement.query([])?;
    let mut items: Vec<Item> = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
        if let Some(item) = items.last_mut()
            && item.key.as_str() == text
        {
            item.placements.push(placement_of(row)?);
            continue;
        }
        let key: ObjectKey = parsed(row, 5)?;
        let instance = row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?;
        let before = items.last().map(|item| &item.instance);
        items.push(Item {
            instance: match before.filter(|before| ***before == *instance) {
                Some(same) => Arc::clone(same),
                None => instance.into(),
            },
            size_bytes: number(row, 7)?,
            created_at: time(row, 8)?,
            is_good: row.get(9)?,
            content: content(row, 10)?,
            marked_at: marked.get(key.as_str()).copied(),
            placements: vec![placement_of(row)?],
            key,
        });
    }
    Ok(items)
}

/// Members of every archive, by its key.
fn select_members(connection: &Connection) -> Result<HashMap<String, Vec<ItemMember>>, Stop> {
    let sql =
        "SELECT * FROM archive_members ORDER BY archive_key, database_name, backup_date, r2_key";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut members: HashMap<String, Vec<ItemMember>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let member = ItemMember {
            key: parsed(row, "r2_key")?,
            database: parsed(row, "database_name")?,
            date: parsed(row, "backup_date")?,
        };
        members
            .entry(row.get("archive_key")?)
            .or_default()
            .push(member);
    }
    Ok(members)
}

/// Removes an object's placement in a storage; an archive without any placement left loses its members.
pub(super) fn forget_placement(
    connection: &Connection,
    (key, storage): &Removal,
) -> Result<(), Stop> {
    let table = table_of(key);
    let row = [key.as_str(), storage];
    let placement = format!("DELETE FROM {table} WHERE r2_key = ? AND storage = ?");
    connection.prepare_cached(&placement)?.execute(row)?;
    let absence = "DELETE FROM absences WHERE r2_key = ? AND storage = ?";
    connection.prepare_cached(absence)?.execute(row)?;
    if table == "archives" {
        let members = "DELETE FROM archive_members WHERE archive_key = ?1
             AND NOT EXISTS (SELECT 1 FROM archives WHERE r2_key = ?1)";
        connection.execute(members, [key.as_str()])?;
    }
    Ok(())
}

fn delete_removal(connection: &Connection, (key, storage): &Removal) -> Result<(), Stop> {
    let sql = "DELETE FROM removals WHERE r2_key = ? AND storage = ?";
    connection
        .prepare_cached(sql)?
        .execute([key.as_str(), storage])?;
    Ok(())
}

/// Cause for which a database is blocked: the row has the whole message with a prefix and a hint. Both are removed,
/// because every caller adds its own.
fn cause(row: &Row<'_>) -> rusqlite::Result<String> {
    let (database, reason): (String, String) = (row.get("database_name")?, row.get("reason")?);
    let said = format!("nothing of `{database}` expires: ");
    let mut cause = reason.split("\nhint: ").next().unwrap_or_default();
    while let Some(rest) = cause.strip_prefix(&said) {
        cause = rest;
    }
    Ok(cause.to_owned())
}

/// One value for each row that `sql` selects, by database.
fn by_database<T>(
    connection: &Connection,
    sql: &str,
    value: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<BTreeMap<DatabaseName, T>, Stop> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((parsed(row, "database_name")?, value(row)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// First column of every row.
fn column<T>(
    connection: &Connection,
    sql: &str,
    arguments: &[&dyn rusqlite::ToSql],
) -> Result<BTreeSet<T>, Stop>
where
    T: std::str::FromStr + Ord,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map(arguments, |row| parsed(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
