//! Fills the demo databases about work: autumnsgrove-git-stats and grove-domain-jobs.

use rusqlite::{Connection, params};

use super::dice::Dice;

const GIT_STATS: &str = "
CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, stars INTEGER NOT NULL DEFAULT 0);
CREATE TABLE commits (
  hash TEXT PRIMARY KEY,
  repository_id INTEGER NOT NULL REFERENCES repositories(id),
  author TEXT NOT NULL,
  message TEXT NOT NULL,
  additions INTEGER NOT NULL,
  deletions INTEGER NOT NULL,
  committed_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX commits_by_day ON commits(repository_id, committed_at);
CREATE TABLE languages (
  repository_id INTEGER NOT NULL REFERENCES repositories(id),
  name TEXT NOT NULL,
  share REAL NOT NULL CHECK (share BETWEEN 0 AND 1),
  PRIMARY KEY (repository_id, name)
);
CREATE VIEW daily AS
  SELECT repository_id, date(committed_at, 'unixepoch') AS day, count(*) AS commits,
    sum(additions) AS additions, sum(deletions) AS deletions
  FROM commits GROUP BY 1, 2;
PRAGMA user_version = 2;
";

/// Creates repositories, their commits and languages.
pub(super) fn git_stats(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    db.execute_batch(GIT_STATS)?;
    for id in 1..=12 {
        let name = format!("{}-{}-{id}", dice.word(), dice.word());
        db.execute(
            "INSERT INTO repositories VALUES (?, ?, ?)",
            params![id, name, dice.below(400)],
        )?;
        for language in ["Rust", "Svelte", "SQL"] {
            db.execute(
                "INSERT INTO languages VALUES (?, ?, ?)",
                params![id, language, dice.fraction()],
            )?;
        }
        for _ in 0..60 + dice.below(120) {
            let kind = dice.pick(&["feat", "fix", "docs", "chore"]);
            let message = format!("{kind}: {}", dice.sentence(6));
            db.execute(
                "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    dice.hex(40),
                    id,
                    dice.pick(&["autumn", "ada", "Łukasz"]),
                    message,
                    dice.below(400),
                    dice.below(200),
                    dice.moment()
                ],
            )?;
        }
    }
    Ok(())
}

const DOMAIN_JOBS: &str = "
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  business TEXT NOT NULL,
  vibe TEXT,
  status TEXT NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed')),
  batches INTEGER NOT NULL DEFAULT 0,
  cost_usd REAL NOT NULL DEFAULT 0.0,
  created_at INTEGER NOT NULL
);
CREATE TABLE domains (
  id INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  is_available INTEGER,
  price_cents INTEGER,
  score REAL,
  UNIQUE (job_id, name)
);
CREATE TABLE checkpoints (job_id TEXT PRIMARY KEY REFERENCES jobs(id), state BLOB NOT NULL);
CREATE TRIGGER count_batches AFTER INSERT ON checkpoints BEGIN
  UPDATE jobs SET batches = batches + 1 WHERE id = new.job_id;
END;
CREATE VIEW available AS
  SELECT jobs.business, domains.name, price_cents / 100.0 AS price_usd
  FROM domains JOIN jobs ON jobs.id = job_id WHERE is_available ORDER BY score DESC;
PRAGMA user_version = 9;
";

/// Creates searches for domains, their results and their checkpoints.
pub(super) fn domain_jobs(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    db.execute_batch(DOMAIN_JOBS)?;
    for _ in 0..45 {
        let id = dice.hex(32);
        let business = format!("{} & {} {}", dice.word(), dice.word(), dice.emoji());
        let status = dice.pick(&["queued", "running", "done", "done", "failed"]);
        let vibe = (!dice.one_in(3)).then(|| dice.sentence(3));
        db.execute(
            "INSERT INTO jobs (id, business, vibe, status, cost_usd, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            params![id, business, vibe, status, dice.fraction(), dice.moment()],
        )?;
        for number in 0..dice.below(40) {
            let ending = dice.pick(&["com", "dev", "place", "garden"]);
            let name = format!("{}{}{number}.{ending}", dice.word(), dice.word());
            let is_available = (!dice.one_in(8)).then(|| dice.one_in(3));
            db.execute(
                "INSERT INTO domains (job_id, name, is_available, price_cents, score) VALUES (?, ?, ?, ?, ?)",
                params![id, name, is_available, dice.below(9000), dice.fraction()],
            )?;
        }
        db.execute(
            "INSERT INTO checkpoints VALUES (?, ?)",
            params![id, dice.bytes(250)],
        )?;
    }
    Ok(())
}
