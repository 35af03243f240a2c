//! Keeps rows on disk until all are read. The file has no name and disappears with the process.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::reading::values;
use super::schema::Rows;
use crate::dump::RowBlock;

/// Marker of the end of a table, in place of a block's length.
const END: u64 = u64::MAX;

/// Tables of rows, one after another.
pub(super) struct RowStore(BufWriter<File>);

/// The stored rows, read from the start.
pub(super) struct StoredRows(BufReader<File>);

impl RowStore {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::new(tempfile::tempfile_in(folder)?)))
    }

    /// Appends rows to the current table.
    pub(super) fn push(&mut self, rows: &Rows) -> io::Result<()> {
        let mut block = RowBlock::default();
        for row in rows {
            block.push_row(&values(row));
        }
        self.0.write_all(&(block.len() as u64).to_le_bytes())?;
        self.0.write_all(block.as_bytes())
    }

    pub(super) fn end_table(&mut self) -> io::Result<()> {
        self.0.write_all(&END.to_le_bytes())
    }

    pub(super) fn read(self) -> io::Result<StoredRows> {
        let mut file = self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(StoredRows(BufReader::new(file)))
    }
}

impl StoredRows {
    /// Returns the next rows of the current table; `None` ends it and begins the next.
    pub(super) fn next_block(&mut self) -> io::Result<Option<RowBlock>> {
        let mut length = [0; 8];
        self.0.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length == END {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(Some(RowBlock::from_bytes(bytes)))
    }
}
