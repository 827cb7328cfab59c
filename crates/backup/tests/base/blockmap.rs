//! What the log changes, found by us, against PostgreSQL's own word and against the files.
//!
//! Never takes our reader's word for anything: `pg_waldump` or the data folder says what is right.

mod deeds;
mod log;
mod rounds;
