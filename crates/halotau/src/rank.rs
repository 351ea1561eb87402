//! Which is larger? Numbers that depend on the order of values only, or nearly so.
//!
//! ```text
//! rho = cov(rank x, rank y) / (sd(rank x) · sd(rank y))        Spearman, equal values share their mean rank
//! ```
//!
//! NaN means "no value" and is left out everywhere; infinities are values and come first or last.

/// Ranks from 1; equal values share the mean of their ranks. NaN has the rank NaN and takes no place.
///
/// # Example
///
/// ```
/// assert_eq!(halotau::rank::mid_ranks(&[30.0, 10.0, 20.0, 10.0]), [4.0, 1.5, 3.0, 1.5]);
/// ```
pub fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len())
        .filter(|&index| !values[index].is_nan())
        .collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![f64::NAN; values.len()];
    let mut before = 0;
    // 0.0 and −0.0 are equal, and neighbors in the order.
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + 0.5 * (equal.len() + 1) as f64;
        for &index in equal {
            ranks[index] = rank;
        }
        before += equal.len();
    }
    ranks
}

/// Spearman's rank correlation of pairs, with mid-ranks for equal values.
///
/// Pairs with a NaN are left out, as are values beyond the shorter list. NaN for fewer than 3 pairs, or where all
/// values of one side are equal. No monotone change of scale of either side changes it.
///
/// # Example
///
/// ```
/// let rho = halotau::rank::spearman(&[1.0, 2.0, 3.0, 4.0], &[10.0, 30.0, 20.0, 40.0]);
/// // 1 − 6 Σd²/(n(n² − 1)) with Σd² = 2 and n = 4
/// assert!((rho - 0.8).abs() < 1e-12);
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let pairs = x.iter().zip(y).filter(|(x, y)| !x.is_nan() && !y.is_nan());
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.unzip();
    if x.len() < 3 {
        return f64::NAN;
    }
    // The mean of n ranks is (n + 1)/2, with or without equal values.
    let mean = 0.5 * (x.len() + 1) as f64;
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (rank_x, rank_y) in mid_ranks(&x).into_iter().zip(mid_ranks(&y)) {
        let (x, y) = (rank_x - mean, rank_y - mean);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    if xx > 0.0 && yy > 0.0 {
        // Rounding must not carry a perfect correlation beyond 1.
        (xy / libm::sqrt(xx * yy)).clamp(-1.0, 1.0)
    } else {
        f64::NAN
    }
}

/// Kendall's rank correlation tau_b: pairs in the same order less pairs in the opposite order, over the roots of the numbers of pairs that
/// are not equal in `x` and in `y`.
///
/// Pairs with a NaN are left out. NaN for fewer than 2 values, or where all of one side are equal. Costs n log n, by counting the exchanges of
/// a merge sort (Knight, J. Am. Stat. Assoc. 61, 436 (1966), doi 10.1080/01621459.1966.10480879).
///
/// # Example
///
/// ```
/// let tau = halotau::rank::kendall(&[1.0, 2.0, 3.0, 4.0], &[10.0, 30.0, 20.0, 40.0]);
/// // Five pairs in order, one not.
/// assert!((tau - 4.0 / 6.0).abs() < 1e-12);
/// ```
pub fn kendall(x: &[f64], y: &[f64]) -> f64 {
    let mut pairs: Vec<(f64, f64)> = x
        .iter()
        .zip(y)
        .filter(|(x, y)| !x.is_nan() && !y.is_nan())
        // Adding zero makes −0 the same as 0, which the total order tells apart.
        .map(|(x, y)| (x + 0.0, y + 0.0))
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let two = |n: usize| n as f64 * (n as f64 - 1.0) / 2.0;
    let all = two(pairs.len());
    let equal_x: f64 = pairs
        .chunk_by(|a, b| a.0 == b.0)
        .map(|group| two(group.len()))
        .sum();
    let equal_both: f64 = pairs
        .chunk_by(|a, b| a == b)
        .map(|group| two(group.len()))
        .sum();
    let mut sorted: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let mut room = sorted.clone();
    let exchanges = merge_sort(&mut sorted, &mut room);
    let equal_y: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|group| two(group.len()))
        .sum();
    let order = all - equal_x - equal_y + equal_both - 2.0 * exchanges;
    let size = libm::sqrt((all - equal_x) * (all - equal_y));
    if size > 0.0 {
        (order / size).clamp(-1.0, 1.0)
    } else {
        f64::NAN
    }
}

/// Sorts and returns the number of pairs that were in the wrong order.
fn merge_sort(values: &mut [f64], room: &mut [f64]) -> f64 {
    let n = values.len();
    if n < 2 {
        return 0.0;
    }
    let (low, high) = values.split_at_mut(n / 2);
    let mut exchanges = merge_sort(low, room) + merge_sort(high, room);
    let (mut from_low, mut from_high) = (0, 0);
    for place in room[..n].iter_mut() {
        if from_high == high.len() || (from_low < low.len() && low[from_low] <= high[from_high]) {
            *place = low[from_low];
            from_low += 1;
        } else {
            *place = high[from_high];
            from_high += 1;
            exchanges += (low.len() - from_low) as f64;
        }
    }
    values.copy_from_slice(&room[..n]);
    exchanges
}

/// The value below which a share `p` of the values lies, linear between the sorted values.
///
/// The sorted values x(0) to x(n − 1) stand at p = 0, 1/(n − 1), ... 1, as in `numpy.quantile`. NaN values are left
/// out; NaN where there is none or `p` is outside 0 to 1.
///
/// # Example
///
/// ```
/// use halotau::rank::quantile;
///
/// assert_eq!(quantile(&[40.0, 10.0, 20.0], 0.5), 20.0);
/// assert_eq!(quantile(&[40.0, 10.0, 20.0], 0.75), 30.0);
/// ```
pub fn quantile(values: &[f64], p: f64) -> f64 {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    if sorted.is_empty() || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    sorted.sort_by(f64::total_cmp);
    let place = p * (sorted.len() - 1) as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    // A neighbor without a share must not count: it may be infinite.
    if share == 0.0 || sorted[below] == sorted[below + 1] {
        sorted[below]
    } else {
        (1.0 - share) * sorted[below] + share * sorted[below + 1]
    }
}

/// The middle value, or the mean of the two middle ones: [`quantile`] at 1/2.
///
/// # Example
///
/// ```
/// assert_eq!(halotau::rank::median(&[1.0, f64::NAN, 9.0, 3.0, 5.0]), 4.0);
/// ```
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 11] = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0];
    const Y: [f64; 11] = [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0, 2.0, 8.0, 4.0];

    #[test]
    fn equal_values_share_their_ranks_and_nan_has_none() {
        assert_eq!(
            mid_ranks(&X),
            [4.5, 1.5, 6.0, 1.5, 8.0, 11.0, 3.0, 10.0, 8.0, 4.5, 8.0]
        );
        let ranks = mid_ranks(&[2.0, f64::NAN, -0.0, 0.0, f64::INFINITY]);
        assert!(ranks[1].is_nan());
        assert_eq!(
            [ranks[0], ranks[2], ranks[3], ranks[4]],
            [3.0, 1.5, 1.5, 4.0]
        );
    }

    #[test]
    fn spearman_equals_scipy() {
        // scipy.stats.spearmanr of the same lists.
        assert!((spearman(&X, &Y) - 0.1384567651467695).abs() < 1e-14);
    }

    #[test]
    fn kendall_equals_scipy() {
        // scipy.stats.kendalltau of the same lists.
        assert!((kendall(&X, &Y) - 0.14757295747452434).abs() < 1e-14);
        assert_eq!(kendall(&X, &X), 1.0);
        assert!(kendall(&X, &[5.0; 11]).is_nan() && kendall(&[1.0], &[1.0]).is_nan());
    }

    #[test]
    fn monotone_maps_and_missing_pairs_change_nothing() {
        let mapped = Y.map(|y| -(0.3 * y).exp());
        assert!((spearman(&X, &mapped) + spearman(&X, &Y)).abs() < 1e-15);
        let (mut x, mut y) = (X.to_vec(), Y.to_vec());
        x.extend([f64::NAN, 7.0]);
        y.extend([100.0, f64::NAN]);
        assert_eq!(spearman(&x, &y), spearman(&X, &Y));
        assert_eq!(spearman(&X, &X), 1.0);
        assert!(spearman(&X, &[5.0; 11]).is_nan());
        assert!(spearman(&X[..2], &Y[..2]).is_nan());
    }

    #[test]
    fn quantiles_equal_numpy() {
        // numpy.quantile(X, [0, 0.16, 0.5, 0.84, 1])
        let found = [0.0, 0.16, 0.5, 0.84, 1.0].map(|p| quantile(&X, p));
        for (found, expected) in found.into_iter().zip([1.0, 1.6, 4.0, 5.4, 9.0]) {
            assert!((found - expected).abs() < 1e-12);
        }
        let open = [1.0, 2.0, f64::INFINITY];
        assert_eq!(median(&open), 2.0);
        assert_eq!(quantile(&open, 1.0), f64::INFINITY);
        assert!(median(&[f64::NAN]).is_nan() && quantile(&X, 1.5).is_nan());
    }
}
