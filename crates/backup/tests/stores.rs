//! One contract for all kinds of stores, on real servers and in a folder; and what a repository
//! does on them.
//!
//! Never reaches outside this machine, and leaves no process and no folder behind. Google Cloud is
//! not among them: no emulator that can be had speaks the protocol that is spoken there.

#[cfg(test)]
mod stores {
    mod catalogue;
    mod contract;
    mod dumps;
    mod faults;
    mod gone;
    mod interchange;
    mod leftovers;
    mod relay;
    mod rewrap;
    mod segments;
    mod servers;
    mod stream;
    mod troubles;
    mod wal;
}
