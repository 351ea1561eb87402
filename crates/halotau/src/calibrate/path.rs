//! How does the center move during the record?
//!
//! Lenses and high tension drift, and the pattern with them, by the same amount at all positions of a scan. A path is linear
//! between knots, and its ends are prolonged. It is followed as the descan is: by whole native pixels, so that no count is
//! interpolated. What is left, up to half a pixel, is left.

use serde::{Deserialize, Serialize};

/// Displacement of the center against the index of the scan, native pixels; still where there is no knot.
///
/// # Example
///
/// ```
/// use halotau::calibrate::CenterPath;
/// // Two rows down over a hundred scans.
/// let path = CenterPath::new(vec![[0.0, -1.0, 0.0], [100.0, 1.0, 0.0]]);
/// assert_eq!(path.at(75.0), (0.5, 0.0));
/// assert_eq!((path.whole(0), path.whole(50), path.whole(100)), ((-1, 0), (0, 0), (1, 0)));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<[f64; 3]>", into = "Vec<[f64; 3]>")]
pub struct CenterPath {
    /// `[index of the scan, rows, columns]`, by index.
    knots: Vec<[f64; 3]>,
}

impl TryFrom<Vec<[f64; 3]>> for CenterPath {
    type Error = String;

    /// What a person wrote is taken as it stands or not at all.
    fn try_from(knots: Vec<[f64; 3]>) -> Result<Self, String> {
        if let Some(knot) = knots
            .iter()
            .find(|knot| knot.iter().any(|v| !v.is_finite()))
        {
            return Err(format!("{knot:?} is not finite"));
        }
        if let Some(pair) = knots.windows(2).find(|pair| pair[0][0] >= pair[1][0]) {
            return Err(format!(
                "the scans of a path must ascend, {} is followed by {}",
                pair[0][0], pair[1][0]
            ));
        }
        Ok(Self { knots })
    }
}

impl From<CenterPath> for Vec<[f64; 3]> {
    fn from(path: CenterPath) -> Self {
        path.knots
    }
}

impl CenterPath {
    /// Through knots of `[index of the scan, rows, columns]`; those that are not finite are left out.
    pub fn new(mut knots: Vec<[f64; 3]>) -> Self {
        knots.retain(|knot| knot.iter().all(|value| value.is_finite()));
        knots.sort_by(|a, b| a[0].total_cmp(&b[0]));
        knots.dedup_by_key(|knot| knot[0]);
        Self { knots }
    }

    /// `[index of the scan, rows, columns]`, by index.
    pub fn knots(&self) -> &[[f64; 3]] {
        &self.knots
    }

    /// Whether the center stays.
    pub fn is_still(&self) -> bool {
        self.knots
            .iter()
            .all(|knot| knot[1] == 0.0 && knot[2] == 0.0)
    }

    /// Displacement (rows, columns) at an index of the scan.
    pub fn at(&self, time: f64) -> (f64, f64) {
        let knots = &self.knots;
        match knots.len() {
            0 => (0.0, 0.0),
            1 => (knots[0][1], knots[0][2]),
            n => {
                let next = knots
                    .iter()
                    .position(|knot| knot[0] > time)
                    .unwrap_or(n - 1)
                    .max(1);
                let (a, b) = (&knots[next - 1], &knots[next]);
                let share = (time - a[0]) / (b[0] - a[0]);
                (a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2]))
            }
        }
    }

    /// Displacement by whole pixels at a scan.
    pub fn whole(&self, time: usize) -> (i32, i32) {
        let (row, col) = self.at(time as f64);
        (libm::round(row) as i32, libm::round(col) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_goes_back_or_nowhere_is_refused() {
        let read = |text: &str| serde_json::from_str::<CenterPath>(text);
        let path = CenterPath::new(vec![[9.0, 1.0, 0.0], [0.0, -1.0, 0.5]]);
        let back = read("[[0.0, -1.0, 0.5], [9.0, 1.0, 0.0]]");
        assert_eq!(back.ok(), Some(path));
        for wrong in [
            "[[5.0, 0.1, 0.0], [2.0, 0.3, 0.0]]",
            "[[2.0, 0.1, 0.0], [2.0, 0.3, 0.0]]",
        ] {
            let error = read(wrong).map_err(|error| error.to_string());
            assert!(
                error.is_err_and(|text| text.contains("must ascend")),
                "{wrong}"
            );
        }
        assert!(CenterPath::try_from(vec![[0.0, f64::NAN, 0.0]]).is_err());
    }
}
