//! The ledger against one real PostgreSQL.
//!
//! Never leaves a process or a folder behind.

#[cfg(test)]
mod ledger {
    mod promises;
    mod server;
}
