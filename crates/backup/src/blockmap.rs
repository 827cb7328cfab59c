//! Which pages the log changed: noted while a segment is archived, asked by incremental backups.
//!
//! Never says that a page is as it was unless all log in between was read: what cannot be read is
//! refused, and then all pages are read.

mod cover;
#[cfg(test)]
mod fixtures;
mod past;
mod record;
mod segment;
mod stored;
mod touched;
mod walk;

pub use cover::{Range, Unmapped, gather};
pub use past::Past;
pub use segment::{Continued, Joined, SegmentMap, Tail};
pub use stored::Unusable;
pub use touched::{Database, Named, Relation, Touched};
pub use walk::{Unreadable, Walk};
