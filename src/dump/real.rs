//! Writes doubles that SQLite 3.40.1 and the current one both read back to the same bits.
//!
//! 3.40.1 reads a decimal through an 80-bit intermediate, so a shortest form that lies close to the middle between two
//! doubles may come back one unit in the last place off. Three forms avoid that: the shortest one if an exact
//! computation shows it far enough from the middle; 19 digits otherwise; and a product of powers of two below 1e-289,
//! where 3.40.1 divides twice.

/// Bound below which 3.40.1 scales with two roundings: 19 digits of such a number end beyond the 308th decimal place.
const SMALLEST_SAFE_DECIMAL: f64 = 1e-289;

/// Bound up to which doubles represent every integer.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// 2^-512, exactly.
const TINY_SCALE: f64 = 7.458340731200207e-155;

/// Appends a double, which must not be NaN.
pub(super) fn write_real(out: &mut Vec<u8>, number: f64) {
    if number.is_infinite() {
        let text: &[u8] = if number > 0.0 { b"9e999" } else { b"-9e999" };
        out.extend_from_slice(text);
    } else if number.fract() == 0.0 && number.abs() < EXACT_INTEGERS {
        if number.is_sign_negative() {
            out.push(b'-');
        }
        out.extend_from_slice(itoa::Buffer::new().format(number.abs() as u64).as_bytes());
        out.extend_from_slice(b".0");
    } else if number.abs() < SMALLEST_SAFE_DECIMAL {
        write_tiny(out, number);
    } else {
        write_decimal(out, number);
    }
}

fn write_decimal(out: &mut Vec<u8>, number: f64) {
    let mut buffer = ryu::Buffer::new();
    let shortest = buffer.format_finite(number);
    if is_far_from_the_middle(shortest.as_bytes(), number) {
        out.extend_from_slice(shortest.as_bytes());
    } else {
        out.extend_from_slice(format!("{number:.18e}").as_bytes());
    }
}

/// Appends a product of exact factors that is computed without rounding: the result is the double itself.
fn write_tiny(out: &mut Vec<u8>, number: f64) {
    let (mantissa, exponent) = decompose(number.abs());
    let sign = if number < 0.0 { "-" } else { "" };
    let rest = 2f64.powi(exponent + 512);
    let text = format!("({sign}{mantissa}.0*{TINY_SCALE:.18e}*{rest:.18e})");
    out.extend_from_slice(text.as_bytes());
}

/// Returns the integer mantissa and binary exponent of a positive finite double.
fn decompose(number: f64) -> (u64, i32) {
    const MANTISSA_BITS: u32 = 52;
    let bits = number.to_bits();
    let field = (bits >> MANTISSA_BITS) as i32;
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    if field == 0 {
        return (fraction, -1074);
    }
    (fraction | 1 << MANTISSA_BITS, field - 1075)
}

/// True if the decimal lies within 0.45 of a unit in the last place of the double (0.22 for a power of two, whose lower
/// neighbour is closer), computed exactly; false if 128 bits do not suffice.
fn is_far_from_the_middle(decimal: &[u8], number: f64) -> bool {
    let Some((digits, exponent)) = parse(decimal) else {
        return false;
    };
    let (mantissa, binary) = decompose(number.abs());
    let tolerance_percent: u128 = if mantissa == 1 << 52 { 22 } else { 45 };
    let tens = exponent.unsigned_abs();
    if tens > 22 || binary.abs() >= 128 {
        return false;
    }
    let power = 10u128.pow(tens);
    let (mut left, mut right, mut unit) = (u128::from(digits), u128::from(mantissa), 1u128);
    // left / right / unit are decimal, double and one ulp, scaled to common integers.
    if exponent < 0 {
        right *= power;
        unit *= power;
    } else {
        let Some(scaled) = left.checked_mul(power) else {
            return false;
        };
        left = scaled;
    }
    let twos = binary.unsigned_abs();
    if binary < 0 {
        if left.leading_zeros() < twos {
            return false;
        }
        left <<= twos;
    } else {
        if right.leading_zeros() < twos {
            return false;
        }
        right <<= twos;
        unit <<= twos;
    }
    let distance = left.abs_diff(right);
    match (
        distance.checked_mul(100),
        unit.checked_mul(tolerance_percent),
    ) {
        (Some(distance), Some(allowed)) => distance <= allowed,
        _ => false,
    }
}

/// Returns the digits and the decimal exponent of ryu's text without the sign; `None` if 64 bits cannot represent the
/// digits.
fn parse(decimal: &[u8]) -> Option<(u64, i32)> {
    let (mut digits, mut exponent) = (0u64, 0i32);
    let mut is_fraction = false;
    let mut rest = decimal.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'-' => {}
            b'.' => is_fraction = true,
            b'e' => {
                let stated: i32 = std::str::from_utf8(rest.as_slice()).ok()?.parse().ok()?;
                exponent += stated;
                break;
            }
            digit => {
                digits = digits
                    .checked_mul(10)?
                    .checked_add(u64::from(digit - b'0'))?;
                exponent -= i32::from(is_fraction);
            }
        }
    }
    Some((digits, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: f64) -> String {
        let mut out = Vec::new();
        write_real(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn common_doubles_keep_their_short_form() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-123456.0, "-123456.0"),
            (0.1, "0.1"),
            (19.99, "19.99"),
            (-2.5e-7, "-2.5e-7"),
            (f64::INFINITY, "9e999"),
            (f64::NEG_INFINITY, "-9e999"),
        ] {
            assert_eq!(text(number), expected);
        }
    }

    #[test]
    fn a_double_is_never_written_as_an_integer() {
        for number in [
            1e15,
            1e17,
            1e300,
            9_007_199_254_740_993.0,
            f64::MAX,
            f64::MIN_POSITIVE,
        ] {
            let text = text(number);
            assert!(text.contains(['.', 'e']), "{text}");
        }
    }

    #[test]
    fn every_form_has_exactly_the_double_as_its_value() {
        let mut seed = 1u64;
        for _ in 0..100_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let number = f64::from_bits(seed ^ seed >> 29);
            if number.is_nan() || number.is_infinite() {
                continue;
            }
            let text = text(number);
            let value = match text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
                Some(product) => product
                    .split('*')
                    .map(|factor| factor.parse::<f64>().unwrap())
                    .product(),
                None => text.parse::<f64>().unwrap(),
            };
            assert_eq!(value.to_bits(), number.to_bits(), "{text}");
        }
    }
}
