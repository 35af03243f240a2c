//! Writes and reads the dump file. Invariant: the same content gives the same bytes between header and trailer.
//!
//! Pure: bytes in, bytes out. The format is described in `docs/dump-format.md`; the reasons stand beside each part.

mod compress;
mod content;
mod literal;
mod order;
mod reader;
mod real;
mod schema;
mod split;
mod stage;
mod writer;

pub use compress::{Decoder, Encoder, decoder};
pub use content::{ContentHasher, RowBlock};
pub use literal::{Literals, TextEncoding, Value, quoted_name, write_name};
pub use order::parents_first;
pub use reader::{Check, DumpHeader, ReadError, Summary};
pub use schema::{
    Content, Database, FileSettings, Rowid, SchemaObject, SequenceRow, Statistics, Table,
};
pub use split::{SplitError, Splitter, TextEnd, early_end, text_end};
pub use writer::{DumpWriter, Header, MAX_STATEMENT_BYTES, Sink};
