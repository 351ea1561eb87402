//! The lowest value of a function of a few parameters, without derivatives.
//!
//! Source: Nelder and Mead, Computer Journal 7, 308 (1965), doi 10.1093/comjnl/7.4.308.

/// Searches from a start, with first steps along each parameter; ends where the corners agree, or after a fixed number of steps.
pub(super) fn minimize(
    start: &[f64],
    step: &[f64],
    value: &dyn Fn(&[f64]) -> f64,
) -> (Vec<f64>, f64) {
    let n = start.len();
    let mut corners: Vec<(Vec<f64>, f64)> = (0..=n)
        .map(|corner| {
            let mut at = start.to_vec();
            if corner > 0 {
                at[corner - 1] += step[corner - 1];
            }
            let v = value(&at);
            (at, v)
        })
        .collect();
    for _ in 0..200 * (n + 1) {
        corners.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (best, worst) = (corners[0].1, corners[n].1);
        if (worst - best).abs() <= 1e-12 * (best.abs() + worst.abs()) {
            break;
        }
        let center: Vec<f64> = (0..n)
            .map(|p| corners[..n].iter().map(|c| c.0[p]).sum::<f64>() / n as f64)
            .collect();
        let moved = |by: f64| -> (Vec<f64>, f64) {
            let at: Vec<f64> = (0..n)
                .map(|p| center[p] + by * (corners[n].0[p] - center[p]))
                .collect();
            let v = value(&at);
            (at, v)
        };
        let reflected = moved(-1.0);
        let next = if reflected.1 < best {
            let expanded = moved(-2.0);
            if expanded.1 < reflected.1 {
                expanded
            } else {
                reflected
            }
        } else if reflected.1 < corners[n - 1].1 {
            reflected
        } else {
            moved(if reflected.1 < worst { -0.5 } else { 0.5 })
        };
        if next.1 < worst {
            corners[n] = next;
        } else {
            let lowest = corners[0].0.clone();
            for corner in &mut corners[1..] {
                let toward = corner.0.iter_mut().zip(&lowest);
                toward.for_each(|(p, low)| *p = low + 0.5 * (*p - low));
                corner.1 = value(&corner.0);
            }
        }
    }
    corners.sort_by(|a, b| a.1.total_cmp(&b.1));
    corners.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        let banana = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let (at, value) = minimize(&[-1.2, 1.0], &[0.5, 0.5], &banana);
        assert!((at[0] - 1.0).abs() < 1e-4 && (at[1] - 1.0).abs() < 1e-4 && value < 1e-8);
    }
}
