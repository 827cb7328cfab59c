//! Reads quantities of bytes as Kubernetes writes them. Never rounds down.

use pgherd_core::units::Bytes;

/// A quantity that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It has no known form.
    #[error("{given:?} is not a quantity: write a number and a unit, such as {suggestion}")]
    Form {
        /// What was written.
        given: String,
        /// What was probably meant.
        suggestion: String,
    },
    /// It is below zero.
    #[error("{given:?} is negative: write a quantity such as 16Mi")]
    Negative {
        /// What was written.
        given: String,
    },
    /// It cannot be counted.
    #[error("{given:?} is too large: write less than 8Ei")]
    Large {
        /// What was written.
        given: String,
    },
}

/// A quantity of bytes, such as `16Mi`, `1.5Gi`, `500M` or `1e9`. Fractions of a byte count as one.
pub fn parse_bytes(given: &str) -> Result<Bytes, QuantityError> {
    let unsigned = given.strip_prefix('+').unwrap_or(given);
    if unsigned.starts_with('-') {
        return Err(QuantityError::Negative { given: given.to_owned() });
    }
    let form = || QuantityError::Form { given: given.to_owned(), suggestion: suggest(unsigned) };
    let large = || QuantityError::Large { given: given.to_owned() };
    let (digits, unit) = split_number(unsigned);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(form());
    }
    let (factor, exponent) = unit_of(unit).ok_or_else(form)?;
    let number = format!("{whole}{fraction}");
    let number = number.trim_start_matches('0');
    let number: u128 = if number.is_empty() { 0 } else { number.parse().map_err(|_| large())? };
    let scaled = number.checked_mul(factor).ok_or_else(large)?;
    // More decimals than a u128 holds are less than a byte, however many there are.
    let decimals = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let bytes = shift(scaled, exponent.saturating_sub(decimals)).ok_or_else(large)?;
    match u64::try_from(bytes) {
        Ok(bytes) if i64::try_from(bytes).is_ok() => Ok(Bytes(bytes)),
        Ok(_) | Err(_) => Err(large()),
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let mut dots = 0;
    let end = text.find(|c: char| {
        dots += usize::from(c == '.');
        !(c.is_ascii_digit() || c == '.' && dots == 1)
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// The factor and the power of ten that a unit stands for. Thousandths (`m`) are not units of
/// bytes: whoever writes them means millions.
fn unit_of(unit: &str) -> Option<(u128, i64)> {
    let power = |letter| "KMGTPE".find(letter).and_then(|at| u32::try_from(at).ok());
    match unit {
        "" => Some((1, 0)),
        "k" => Some((1000, 0)),
        "Ki" => Some((1024, 0)),
        _ => {
            let signed =
                |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
            if let Some(exponent) = unit.strip_prefix(['e', 'E']).filter(signed) {
                return exponent.parse().ok().map(|exponent: i16| (1, i64::from(exponent)));
            }
            let letter = unit.chars().next().filter(|letter| *letter != 'K')?;
            let base: u128 = match unit.get(letter.len_utf8()..)? {
                "" => 1000,
                "i" => 1024,
                _ => return None,
            };
            Some((base.pow(power(letter)? + 1), 0))
        }
    }
}

/// `number` times ten to the power of `exponent`, rounded up.
fn shift(number: u128, exponent: i64) -> Option<u128> {
    let power = u32::try_from(exponent.unsigned_abs()).ok().and_then(|e| 10_u128.checked_pow(e));
    match (number, power) {
        (0, _) => Some(0),
        (_, Some(power)) if exponent >= 0 => number.checked_mul(power),
        (_, Some(power)) => Some(number.div_ceil(power)),
        (_, None) if exponent >= 0 => None,
        (_, None) => Some(1),
    }
}

fn suggest(given: &str) -> String {
    let (digits, unit) = split_number(given);
    let unit = unit.trim().to_ascii_uppercase();
    let known = match unit.as_bytes() {
        [letter @ (b'K' | b'M' | b'G' | b'T' | b'P')]
        | [letter @ (b'K' | b'M' | b'G' | b'T' | b'P'), b'B' | b'I']
        | [letter @ (b'K' | b'M' | b'G' | b'T' | b'P'), b'I', b'B'] => Some(char::from(*letter)),
        _ => None,
    };
    match known {
        Some(letter) if !digits.is_empty() => format!("{digits}{letter}i"),
        _ => "10Gi".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn quantities_are_exact_and_rounded_up() {
        for (given, bytes) in [
            ("0", 0),
            ("1", 1),
            ("+7", 7),
            ("1k", 1000),
            ("1Ki", 1024),
            ("16Mi", 16 << 20),
            ("1.5Gi", 3 << 29),
            ("10G", 10_000_000_000),
            (".5Ki", 512),
            ("5.Ki", 5120),
            ("1e3", 1000),
            ("1E3", 1000),
            ("1E", 1_000_000_000_000_000_000),
            ("1.0001Ki", 1025),
            ("2048e-1", 205),
            ("1e-400", 1),
            ("0e400", 0),
            ("0.000000000000000000000000000000000000000000001", 1),
            ("9223372036854775807", u64::MAX / 2),
        ] {
            assert_eq!(parse_bytes(given), Ok(Bytes(bytes)), "{given:?}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_what_was_probably_meant() {
        let given =
            ["10GB", "500 mb", "500m", "1K", "large", "", "1.2.3", "-1Gi", "8Ei", "1e99", "1Eii"];
        let shown = given.map(|given| parse_bytes(given).unwrap_err().to_string() + "\n").concat();
        expect![[r#"
            "10GB" is not a quantity: write a number and a unit, such as 10Gi
            "500 mb" is not a quantity: write a number and a unit, such as 500Mi
            "500m" is not a quantity: write a number and a unit, such as 500Mi
            "1K" is not a quantity: write a number and a unit, such as 1Ki
            "large" is not a quantity: write a number and a unit, such as 10Gi
            "" is not a quantity: write a number and a unit, such as 10Gi
            "1.2.3" is not a quantity: write a number and a unit, such as 10Gi
            "-1Gi" is negative: write a quantity such as 16Mi
            "8Ei" is too large: write less than 8Ei
            "1e99" is too large: write less than 8Ei
            "1Eii" is not a quantity: write a number and a unit, such as 10Gi
        "#]]
        .assert_eq(&shown);
    }
}
