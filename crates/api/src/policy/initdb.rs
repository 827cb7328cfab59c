//! Refuses ways to make an empty database that could not be made.
//!
//! Never judges what is imported into it.

use super::{Check, list, quoted};
use crate::cluster::initdb::{OUR_LONG_OPTIONS, OUR_SHORT_OPTIONS, WITH_VALUE};

const PLACE: &str = "spec.bootstrap.initdb.";

pub(super) fn checks() -> Vec<Check> {
    let short = quoted(&format!("^-[^{WITH_VALUE}]*[{OUR_SHORT_OPTIONS}]"));
    let long = list(&OUR_LONG_OPTIONS);
    // Long names may be cut short, as for initdb itself.
    let options = format!(
        "variables.initdb.?options.orValue([]).filter(option, option.startsWith('--') ? \
         option.startsWith('--auth-') || {long}.exists(known, known.startsWith(option.split('=')[0])) : \
         option.matches({short}))"
    );
    let option = Check {
        name: "cluster-initdb-option-is-free".into(),
        place: "spec.bootstrap.initdb.options: ".into(),
        offenders: options.into(),
        refusal: "is set by the cluster itself: remove it".into(),
    };
    FIELDS.iter().cloned().chain([option]).collect()
}

static FIELDS: &[Check] = &[
    Check::new(
        "cluster-initdb-names",
        PLACE,
        r"['database', 'owner'].filter(field, field in variables.initdb && (bytes(variables.initdb[field]).size() > 63 || variables.initdb[field].matches(r'[\x00-\x1f\x7f-\x{9f}]')))",
        "is not a name: write 1 to 63 bytes without control characters",
    ),
    Check::new(
        "cluster-initdb-names-are-free",
        PLACE,
        "['database', 'owner'].filter(field, field in variables.initdb && variables.initdb[field].matches(field == 'database' ? '^template' : '^(pg_|(streaming_replica|public|none)$)'))",
        "is a name that PostgreSQL keeps for itself: choose another",
    ),
    Check::new(
        "cluster-initdb-provider",
        PLACE,
        "['localeProvider'].filter(field, field in variables.initdb && !(variables.initdb[field] in ['libc', 'icu', 'builtin']))",
        "provides no collations: write libc, icu or builtin",
    ),
    Check::new(
        "cluster-initdb-bare-values",
        PLACE,
        r"['encoding', 'locale', 'localeCollate', 'localeCType', 'icuLocale', 'builtinLocale'].filter(field, field in variables.initdb && variables.initdb[field].matches(r'^-|[\x00-\x1f\x7f-\x{9f}]'))",
        "holds a control character or begins with -: write the bare name",
    ),
];
