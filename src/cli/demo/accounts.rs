//! Fills the demo databases about people: groveauth and scout-db.

use rusqlite::{Connection, params};

use super::dice::Dice;

const AUTH: &str = "
CREATE TABLE users (
  id TEXT PRIMARY KEY,
  email TEXT NOT NULL UNIQUE COLLATE NOCASE,
  display_name TEXT,
  avatar BLOB,
  is_admin INTEGER NOT NULL DEFAULT 0 CHECK (is_admin IN (0, 1)),
  created_at INTEGER NOT NULL
);
CREATE TABLE sessions (
  token_hash TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  ip TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions(user_id, expires_at);
CREATE TABLE oauth_clients (
  client_id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  redirect_uris TEXT NOT NULL DEFAULT '[]'
);
CREATE TABLE oauth_grants (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  client_id TEXT NOT NULL REFERENCES oauth_clients(client_id),
  user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  scope TEXT NOT NULL,
  granted_at INTEGER NOT NULL
);
CREATE TABLE audit_log (at INTEGER NOT NULL, user_id TEXT, event TEXT NOT NULL);
CREATE VIEW active_sessions AS
  SELECT users.email, count(*) AS sessions FROM sessions JOIN users ON users.id = sessions.user_id
  GROUP BY users.id;
CREATE TRIGGER log_admin AFTER UPDATE OF is_admin ON users WHEN new.is_admin <> old.is_admin
BEGIN
  INSERT INTO audit_log VALUES (unixepoch(), new.id, 'is_admin is now ' || new.is_admin);
END;
PRAGMA user_version = 7;
";

/// Creates users, their sessions, and their grants to other programs.
pub(super) fn auth(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    db.execute_batch(AUTH)?;
    let clients = ["scout", "lattice", "forage"];
    for client in clients {
        let uris = format!("[\"https://{client}.grove.place/callback\"]");
        db.execute(
            "INSERT INTO oauth_clients VALUES (?, ?, ?)",
            params![client, format!("Grove {client}"), uris],
        )?;
    }
    for number in 0..240 {
        let id = dice.hex(32);
        let (first, last) = (dice.word(), dice.word());
        let email = format!("{first}.{last}{number}@example.com");
        let name = (!dice.one_in(9)).then(|| format!("{first} {last} {}", dice.emoji()));
        let avatar = dice.one_in(4).then(|| dice.bytes(180));
        db.execute(
            "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)",
            params![id, email, name, avatar, number == 0, dice.moment()],
        )?;
        for _ in 0..=dice.below(4) {
            let (address, created) = (format!("192.0.2.{}", dice.below(256)), dice.moment());
            db.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
                params![dice.hex(64), id, address, created, created + 30 * 86_400],
            )?;
        }
        let scope = dice.pick(&["read", "read write", "profile email"]);
        db.execute(
            "INSERT INTO oauth_grants (client_id, user_id, scope, granted_at) VALUES (?, ?, ?, ?)",
            params![dice.pick(&clients), id, scope, dice.moment()],
        )?;
        db.execute(
            "INSERT INTO audit_log VALUES (?, ?, ?)",
            params![dice.moment(), id, "signed up"],
        )?;
    }
    Ok(())
}

const SCOUT: &str = "
CREATE TABLE accounts (
  id INTEGER PRIMARY KEY,
  user_id TEXT NOT NULL UNIQUE,
  credits INTEGER NOT NULL DEFAULT 0 CHECK (credits >= 0),
  referral_code TEXT UNIQUE
);
CREATE TABLE searches (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  account_id INTEGER NOT NULL REFERENCES accounts(id),
  query TEXT NOT NULL,
  filters TEXT CHECK (filters IS NULL OR json_valid(filters)),
  price_max REAL,
  created_at INTEGER NOT NULL
);
CREATE INDEX searches_by_account ON searches(account_id, created_at DESC);
CREATE TABLE results (
  search_id INTEGER NOT NULL REFERENCES searches(id) ON DELETE CASCADE,
  rank INTEGER NOT NULL,
  url TEXT NOT NULL,
  score REAL NOT NULL,
  PRIMARY KEY (search_id, rank)
) WITHOUT ROWID;
CREATE TABLE credit_ledger (
  id INTEGER PRIMARY KEY,
  account_id INTEGER NOT NULL REFERENCES accounts(id),
  delta INTEGER NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
);
CREATE TRIGGER spend AFTER INSERT ON credit_ledger
BEGIN
  UPDATE accounts SET credits = max(0, credits + new.delta) WHERE id = new.account_id;
END;
CREATE VIEW balance AS SELECT user_id, credits FROM accounts ORDER BY credits DESC;
PRAGMA user_version = 12;
";

/// Creates accounts, their searches, and the credits spent on them.
pub(super) fn scout(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    db.execute_batch(SCOUT)?;
    for account in 1..=60 {
        db.execute(
            "INSERT INTO accounts VALUES (?, ?, ?, ?)",
            params![account, dice.hex(32), 50, dice.hex(8)],
        )?;
        for _ in 0..dice.below(16) {
            search(db, dice, account)?;
        }
    }
    Ok(())
}

fn search(db: &Connection, dice: &mut Dice, account: i64) -> rusqlite::Result<()> {
    let query = format!("{} {} {}", dice.word(), dice.word(), dice.emoji());
    let filters = (!dice.one_in(3)).then(|| {
        format!(
            "{{\"colour\":\"{}\",\"size\":{}}}",
            dice.word(),
            dice.below(50)
        )
    });
    let price = (!dice.one_in(4)).then(|| (dice.fraction() * 20_000.0).round() / 100.0);
    db.execute(
        "INSERT INTO searches (account_id, query, filters, price_max, created_at) VALUES (?, ?, ?, ?, ?)",
        params![account, query, filters, price, dice.moment()],
    )?;
    let id = db.last_insert_rowid();
    for rank in 0..dice.below(9) {
        let url = format!("https://shop.example/{}/{}", dice.word(), dice.hex(12));
        db.execute(
            "INSERT INTO results VALUES (?, ?, ?, ?)",
            params![id, rank, url, dice.fraction()],
        )?;
    }
    db.execute(
        "INSERT INTO credit_ledger (account_id, delta, reason, at) VALUES (?, -1, 'search', ?)",
        params![account, dice.moment()],
    )?;
    Ok(())
}
