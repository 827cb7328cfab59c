//! Default values for fields of types that have required fields, too. Never a default that depends
//! on another field.

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn int64<const N: i64>() -> i64 {
    N
}

pub(crate) fn int32<const N: i32>() -> i32 {
    N
}
