//! Refuses settings of PostgreSQL that are not for users, from the list of whom they belong to.
//!
//! Never has a list of its own.

use super::{Check, list, quoted};
use crate::cluster::parameters::{
    MUST_BE_ON, Owner, ParameterRefusal, SIZES, SWITCHES, TLS_FOR_USERS, WRITTEN, owners,
};

const PLACE: &str = "spec.postgresql.parameters.";
/// What PostgreSQL takes for false, with beginnings of words.
const OFF: &str = r"(?i)^\s*(0|of|off|f|fa|fal|fals|false|n|no)\s*$";
/// What it takes for either.
const SWITCH: &str = r"(?i)^\s*(0|1|of|off|on|f|fa|fal|fals|false|n|no|t|tr|tru|true|y|ye|yes)\s*$";
const SIZE: &str = r"^\s*([0-9]+[.]?[0-9]*|[.][0-9]+)\s*(B|kB|MB|GB|TB)?\s*$";
const NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)?$";

pub(super) fn checks() -> Vec<Check> {
    let owned = owners().map(|(owner, names)| {
        let ours = format!("name.lowerAscii() in {}", list(names));
        let written: Vec<_> = WRITTEN.iter().filter(|(name, _)| names.contains(name)).collect();
        if written.is_empty() {
            return owners_check(owner, &ours);
        }
        let written: Vec<_> =
            written.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let written: Vec<_> = written.iter().map(String::as_str).collect();
        let written = list(&written);
        let taken = format!("(name + '=' + variables.parameters[name]) in {written}");
        owners_check(owner, &format!("{ours} && !({taken})"))
    });
    let tls = format!(
        "name.lowerAscii().startsWith('ssl') && !name.contains('.') && !(name.lowerAscii() in {})",
        list(&TLS_FOR_USERS)
    );
    // A rule of the definition asks for wal_log_hints, because it depends on the number of instances.
    let on = MUST_BE_ON.iter().filter(|(name, _)| *name != "wal_log_hints").map(|(name, why)| {
        let word = name.replace('_', "-");
        let refusal = format!("has to be on, because {why}: remove it");
        of(
            name,
            &format!("cluster-parameter-{word}-is-on"),
            &format!("value.matches(r'{OFF}')"),
            refusal,
        )
    });
    owned.chain([owners_check(Owner::Certificates, &tls)]).chain(on).chain(values()).collect()
}

fn values() -> [Check; 9] {
    let fixed = |text: &str| text.to_owned();
    [
        check(
            "cluster-parameter-is-a-name",
            &format!("!name.matches({}) || name.size() > 63", quoted(NAME)),
            ParameterRefusal::Name.to_string(),
        ),
        check(
            "cluster-parameter-is-set-once",
            "name != name.lowerAscii() && variables.parameters.exists(other, other != name && other.lowerAscii() == name.lowerAscii())",
            fixed(
                "is set in another case, too, and case makes no difference: remove one of the two",
            ),
        ),
        check(
            "cluster-parameter-is-one-line",
            r"variables.parameters[name].matches(r'[\n\r\x00]')",
            ParameterRefusal::LineBreak.to_string(),
        ),
        of(
            "wal_level",
            "cluster-parameter-wal-level-for-standbys",
            "!value.matches('(?i)^(replica|logical)$')",
            fixed(
                "has to be replica or logical for standbys to follow: write one of them or remove it",
            ),
        ),
        of(
            "password_encryption",
            "cluster-parameter-passwords-are-scram",
            "value.lowerAscii() != 'scram-sha-256'",
            fixed("has to be scram-sha-256, which logins need: remove it"),
        ),
        of(
            "max_slot_wal_keep_size",
            "cluster-parameter-slots-have-a-bound",
            r"value.matches(r'^\s*-')",
            fixed(
                "has to have a bound, or a standby that is away fills the disk: write a size such as 16GB",
            ),
        ),
        check(
            "cluster-parameter-is-on-or-off",
            &format!(
                "name.lowerAscii() in {} && !variables.parameters[name].matches(r'{SWITCH}')",
                list(&SWITCHES)
            ),
            ParameterRefusal::Switch.to_string(),
        ),
        check(
            "cluster-parameter-is-a-size",
            &format!(
                "name.lowerAscii() in {} && !variables.parameters[name].matches(r'{SIZE}')",
                list(&SIZES)
            ),
            ParameterRefusal::Size.to_string(),
        ),
        Check::new(
            "cluster-library-is-a-name",
            "spec.postgresql.shared_preload_libraries: ",
            "object.spec.?postgresql.?shared_preload_libraries.orValue([]).filter(name, !name.matches('^[-A-Za-z0-9_.]+$'))",
            "is not the name of a library: use letters, digits and _",
        ),
    ]
}

fn owners_check(owner: Owner, offends: &str) -> Check {
    let word = words(&format!("{owner:?}"));
    let name = format!("cluster-parameter-of-{word}");
    check(&name, offends, ParameterRefusal::Ours(owner).to_string())
}

/// What offends is said of a parameter's `name`.
fn check(name: &str, offends: &str, refusal: String) -> Check {
    Check {
        name: name.to_owned().into(),
        place: PLACE.into(),
        offenders: format!("variables.parameters.filter(name, {offends})").into(),
        refusal: refusal.into(),
    }
}

/// What offends is said of the `value` of one parameter.
fn of(parameter: &str, name: &str, offends: &str, refusal: String) -> Check {
    let offends = offends.replace("value.", "variables.parameters[name].");
    check(name, &format!("name.lowerAscii() == {} && {offends}", quoted(parameter)), refusal)
}

/// `UserMaps` as `user-maps`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
