//! `pgherd local` as a user types it: what it refuses, and one cluster from `up` to `destroy`.
//!
//! Never leaves a cluster behind, whatever the test found.

#[cfg(test)]
mod local {
    mod archive;
    mod backup;
    mod clocks;
    mod clone;
    mod documents;
    mod dump;
    mod encryption;
    mod full_disk;
    mod home;
    mod increment;
    mod lifetime;
    mod metrics;
    mod refusals;
    mod removed;
    mod restart;
    mod restore;
    mod schedule;
    mod settings;
    mod strange;
    mod stream;
    mod together;
}
