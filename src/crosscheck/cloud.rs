//! The check of a D1 database: its own queries, which D1 answers as SQLite does.
/// Placeholder.
pub struct CloudCheck;
