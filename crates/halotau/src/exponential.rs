//! The exponential function of many numbers at once.
//!
//! ```text
//! exp(x) = 2^n · exp(r),   n = round(x / ln 2),   |r| <= ln 2 / 2
//! exp(r) = Σ r^k / k!  up to k = 13
//! ```
//!
//! A function of a library takes one number a call. These are plain operations without a branch, which the compiler turns into
//! vectors; no operation is fused with another, so that results are the same bits on every processor and system. The terms left out
//! are below 1e-17; what the operations round adds up to less than two units in the last place.

/// ln 2 in two parts: the first has so few bits that its multiples by an exponent are exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// 1.5 · 2^52: a number of moderate size that is added to it loses its fraction, and the last bits are the integer.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Below this the result has fewer than 53 bits; it is taken as zero.
const LOWEST: f64 = -708.0;

/// Above this the result is infinite.
const HIGHEST: f64 = 709.0;

/// 1/k! from k = 0 on.
const INVERSE_FACTORIALS: [f64; 14] = [
    1.0,
    1.0,
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];

/// `exp(x)`; zero below −708 and infinite above 709.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    // `clamp` keeps NaN.
    let inside = x.clamp(LOWEST, HIGHEST);
    let shifted = inside * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (inside - n * LN_2_HIGH) - n * LN_2_LOW;
    // Pairs of terms, pairs of pairs, and so on: few operations wait for each other.
    let (r_2, c) = (r * r, &INVERSE_FACTORIALS);
    let (r_4, pair) = (r_2 * r_2, |k: usize| c[k] + c[k + 1] * r);
    let low = (pair(0) + pair(2) * r_2) + (pair(4) + pair(6) * r_2) * r_4;
    let high = (pair(8) + pair(10) * r_2) + pair(12) * r_4;
    let sum = low + high * (r_4 * r_4);
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    let value = sum * power;
    let value = if x < LOWEST { 0.0 } else { value };
    if x > HIGHEST { f64::INFINITY } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_in_the_last_place_of_the_library() {
        for step in -70_800..=70_900 {
            let x = f64::from(step) / 100.0 + 1.0 / 3.0 / 1e4;
            if x > HIGHEST {
                continue;
            }
            let (value, expected) = (exp(x), libm::exp(x));
            assert!(
                (value - expected).abs() <= 2.0 * f64::EPSILON * expected,
                "{x}: {value} against {expected}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-709.0), 0.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert!(exp(f64::NAN).is_nan());
    }
}
