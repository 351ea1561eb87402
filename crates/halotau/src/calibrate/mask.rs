//! Which detector pixels does a mask shape cover?

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::recipe::{MaskShape, Region};

impl MaskShape {
    /// Whether the shape covers a point, native pixels.
    pub fn covers(&self, row: f64, col: f64) -> bool {
        match self {
            Self::Circle { center, radius } => {
                libm::hypot(row - center[0], col - center[1]) <= *radius
            }
            Self::Arm {
                start,
                angle_deg,
                width,
            } => {
                let (sin, cos) = libm::sincos(angle_deg.to_radians());
                let (row, col) = (row - start[0], col - start[1]);
                cos * col + sin * row >= 0.0 && (cos * row - sin * col).abs() <= width / 2.0
            }
            Self::Wedge {
                center,
                from_deg,
                to_deg,
            } => {
                let azimuth = libm::atan2(row - center[0], col - center[1]).to_degrees();
                (azimuth - from_deg).rem_euclid(360.0) <= (to_deg - from_deg).rem_euclid(360.0)
            }
            Self::Rectangle { rows, cols } => {
                let within =
                    |at: f64, [first, end]: [usize; 2]| first as f64 <= at && at < end as f64;
                within(row, *rows) && within(col, *cols)
            }
            Self::Polygon { corners } => {
                // A ray along +column crosses the outline an odd number of times from inside.
                let mut inside = false;
                for (here, [row_a, col_a]) in corners.iter().enumerate() {
                    let [row_b, col_b] = corners[(here + 1) % corners.len()];
                    if (*row_a > row) != (row_b > row)
                        && col < (col_b - col_a) * (row - row_a) / (row_b - row_a) + col_a
                    {
                        inside = !inside;
                    }
                }
                inside
            }
        }
    }
}

/// Pixels that can be used: nonzero in the mask file, inside the crop, outside every shape, `[pattern row, pattern col]`.
///
/// # Errors
///
/// [`Error::Shape`] for a mask of another shape than the pattern; [`Error::Setting`] where the crop reaches beyond it.
pub fn pixel_valid(
    shape: (usize, usize),
    file: Option<&Array2<bool>>,
    crop: Option<Region>,
    shapes: &[MaskShape],
) -> Result<Array2<bool>> {
    if let Some(file) = file
        && file.dim() != shape
    {
        return Err(Error::Shape {
            what: "the mask file",
            expected: vec![shape.0, shape.1],
            found: file.shape().to_vec(),
        });
    }
    if let Some(Region { rows, cols }) = crop
        && (rows[1] > shape.0 || cols[1] > shape.1)
    {
        return Err(Error::Setting {
            key: "pattern.crop".to_owned(),
            value: format!("rows {rows:?}, cols {cols:?}"),
            problem: format!("the pattern has {} rows and {} columns", shape.0, shape.1),
        });
    }
    Ok(Array2::from_shape_fn(shape, |(row, col)| {
        file.is_none_or(|file| file[[row, col]])
            && crop.is_none_or(|crop| {
                (crop.rows[0]..crop.rows[1]).contains(&row)
                    && (crop.cols[0]..crop.cols[1]).contains(&col)
            })
            && !shapes
                .iter()
                .any(|shape| shape.covers(row as f64, col as f64))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_cover_what_they_say() {
        let circle = MaskShape::Circle {
            center: [5.0, 5.0],
            radius: 2.0,
        };
        assert!(circle.covers(5.0, 7.0) && !circle.covers(5.0, 7.1));
        let arm = MaskShape::Arm {
            start: [5.0, 5.0],
            angle_deg: 90.0,
            width: 2.0,
        };
        assert!(arm.covers(9.0, 6.0) && !arm.covers(9.0, 6.5) && !arm.covers(1.0, 5.0));
        let wedge = MaskShape::Wedge {
            center: [0.0, 0.0],
            from_deg: 170.0,
            to_deg: -170.0,
        };
        assert!(wedge.covers(0.1, -5.0) && wedge.covers(-0.1, -5.0) && !wedge.covers(0.0, 5.0));
        let polygon = MaskShape::Polygon {
            corners: vec![[0.0, 0.0], [0.0, 4.0], [4.0, 0.0]],
        };
        assert!(polygon.covers(1.0, 1.0) && !polygon.covers(3.0, 3.0));
    }

    #[test]
    fn a_crop_stays_inside_the_pattern() {
        let crop = |rows| Some(Region { rows, cols: [0, 4] });
        let valid = pixel_valid((4, 4), None, crop([1, 4]), &[]).map(|valid| valid[[0, 0]]);
        assert!(matches!(valid, Ok(false)));
        assert!(pixel_valid((4, 4), None, crop([1, 5]), &[]).is_err());
    }

    #[test]
    fn a_mask_of_another_shape_is_an_error() {
        assert!(pixel_valid((4, 4), Some(&Array2::from_elem((4, 5), true)), None, &[]).is_err());
    }
}
