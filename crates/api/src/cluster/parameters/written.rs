//! Knows the settings that CloudNativePG writes into a specification by itself, so that a manifest
//! that was read back from it is taken as it is.
//!
//! Never lets such a setting have an effect.

/// Settings of ours with the values that say nothing of their author.
pub(crate) const WRITTEN: [(&str, &str); 11] = [
    ("archive_mode", "on"),
    ("archive_mode", "always"),
    ("archive_mode", "off"),
    ("log_destination", "csvlog"),
    ("log_directory", "/controller/log"),
    ("log_filename", "postgres"),
    ("log_rotation_age", "0"),
    ("log_rotation_size", "0"),
    ("log_truncate_on_rotation", "false"),
    ("logging_collector", "on"),
    ("shared_preload_libraries", ""),
];

/// Whether the setting is one of those.
pub(super) fn is_written(name: &str, value: &str) -> bool {
    WRITTEN.contains(&(name, value))
}
