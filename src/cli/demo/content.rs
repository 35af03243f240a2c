//! Fills the demo databases with content written by people: grove-engine-db and autumnsgrove-posts.

use rusqlite::{Connection, params};

use super::dice::Dice;

const ENGINE: &str = "
CREATE TABLE tenants (
  id TEXT PRIMARY KEY,
  subdomain TEXT NOT NULL UNIQUE,
  theme TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(theme)),
  plan TEXT NOT NULL CHECK (plan IN ('seedling', 'sapling', 'oak')),
  created_at INTEGER NOT NULL
);
CREATE TABLE pages (
  tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
  slug TEXT NOT NULL,
  title TEXT NOT NULL,
  body TEXT NOT NULL,
  words INTEGER GENERATED ALWAYS AS (length(body) - length(replace(body, ' ', '')) + 1) VIRTUAL,
  published INTEGER,
  PRIMARY KEY (tenant_id, slug)
);
CREATE INDEX published_pages ON pages(published) WHERE published IS NOT NULL;
CREATE TABLE media (
  id INTEGER PRIMARY KEY,
  tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  bytes BLOB NOT NULL
);
CREATE TABLE settings (tenant_id TEXT REFERENCES tenants(id), key TEXT, value, PRIMARY KEY (tenant_id, key));
CREATE VIEW tenant_sizes AS
  SELECT subdomain, count(*) AS pages, sum(words) AS words FROM tenants JOIN pages ON tenant_id = tenants.id
  GROUP BY tenants.id;
PRAGMA user_version = 31;
";

/// Creates tenants, their pages, pictures and settings.
pub(super) fn engine(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    db.execute_batch(ENGINE)?;
    for number in 0..24 {
        let id = dice.hex(32);
        let subdomain = format!("{}-{number}", dice.word());
        let theme = format!("{{\"accent\":\"#{}\",\"serif\":true}}", dice.hex(6));
        let plan = dice.pick(&["seedling", "sapling", "oak"]);
        db.execute(
            "INSERT INTO tenants VALUES (?, ?, ?, ?, ?)",
            params![id, subdomain, theme, plan, dice.moment()],
        )?;
        for page in 0..5 + dice.below(12) {
            let (title, published) = (dice.sentence(4), dice.moment());
            let body: Vec<String> = (0..6).map(|_| dice.sentence(14)).collect();
            db.execute(
                "INSERT INTO pages (tenant_id, slug, title, body, published) VALUES (?, ?, ?, ?, ?)",
                params![
                    id,
                    format!("{}-{page}", dice.word()),
                    title,
                    body.join("\n\n"),
                    (!dice.one_in(4)).then_some(published)
                ],
            )?;
        }
        for _ in 0..dice.below(4) {
            let (name, length) = (format!("{}.webp", dice.word()), 400 + dice.below(1600));
            let bytes = dice.bytes(usize::try_from(length).unwrap_or(400));
            db.execute(
                "INSERT INTO media (tenant_id, name, bytes) VALUES (?, ?, ?)",
                params![id, name, bytes],
            )?;
        }
        let insert = "INSERT INTO settings VALUES (?, ?, ?)";
        db.execute(insert, params![id, "motto", dice.sentence(5)])?;
        db.execute(insert, params![id, "columns", 1 + dice.below(3)])?;
        db.execute(insert, params![id, "line_height", 1.0 + dice.fraction()])?;
        db.execute(insert, params![id, "banner", None::<String>])?;
    }
    Ok(())
}

const POSTS: &str = "
CREATE TABLE posts (
  id INTEGER PRIMARY KEY,
  slug TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL,
  markdown TEXT NOT NULL,
  published_at TEXT,
  updated_at TEXT
);
CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE post_tags (
  post_id INTEGER NOT NULL REFERENCES posts(id) ON DELETE CASCADE,
  tag_id INTEGER NOT NULL REFERENCES tags(id),
  PRIMARY KEY (post_id, tag_id)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE posts_search USING fts5(title, markdown, content='posts', content_rowid='id');
CREATE TRIGGER posts_added AFTER INSERT ON posts BEGIN
  INSERT INTO posts_search(rowid, title, markdown) VALUES (new.id, new.title, new.markdown);
END;
CREATE TRIGGER posts_removed AFTER DELETE ON posts BEGIN
  INSERT INTO posts_search(posts_search, rowid, title, markdown)
  VALUES ('delete', old.id, old.title, old.markdown);
END;
CREATE VIEW published AS SELECT slug, title, published_at FROM posts WHERE published_at IS NOT NULL;
PRAGMA user_version = 4;
";

/// Creates blog posts in Markdown, their tags, and an index over their words.
pub(super) fn posts(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    db.execute_batch(POSTS)?;
    let tags = ["code", "garden", "café ☕", "日本語", "notes", "recipes"];
    for (tag, id) in tags.iter().zip(1..) {
        db.execute("INSERT INTO tags VALUES (?, ?)", params![id, tag])?;
    }
    for id in 1..=90 {
        let title = dice.sentence(5);
        let slug = format!("{}-{}-{id}", dice.word(), dice.word());
        let published = (!dice.one_in(7)).then(|| dice.moment());
        db.execute(
            "INSERT INTO posts VALUES (?1, ?2, ?3, ?4, datetime(?5, 'unixepoch'), NULL)",
            params![id, slug, title, markdown(dice, &title), published],
        )?;
        let tag = 1 + dice.below(5);
        let insert = "INSERT OR IGNORE INTO post_tags VALUES (?, ?)";
        db.execute(insert, params![id, tag])?;
        db.execute(insert, params![id, tag + 1])?;
    }
    Ok(())
}

fn markdown(dice: &mut Dice, title: &str) -> String {
    let mut text = format!("# {title}\n\n");
    for _ in 0..3 + dice.below(5) {
        text.push_str(&dice.sentence(18));
        text.push_str("\n\n");
    }
    text.push_str(&format!(
        "> \u{201c}{}\u{201d} \u{2014} it\u{2019}s {}\n\n",
        dice.sentence(8),
        dice.emoji()
    ));
    text.push_str(&format!(
        "- [x] {}\n- [ ] `{}`\n\n",
        dice.word(),
        dice.word()
    ));
    text.push_str(&format!(
        "```sql\nSELECT '{}''s', \"{}\" FROM {}; -- {}\n```\n",
        dice.word(),
        dice.word(),
        dice.word(),
        dice.word()
    ));
    text
}
