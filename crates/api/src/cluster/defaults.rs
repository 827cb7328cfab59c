//! Default values for fields of types that have required fields, too. Never a default that depends
//! on another field.

pub(super) fn yes() -> bool {
    true
}

pub(super) fn int64<const N: i64>() -> i64 {
    N
}
