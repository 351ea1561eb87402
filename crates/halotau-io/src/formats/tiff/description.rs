//! Which axes does the description of a stack state?
//!
//! ```text
//! ImageJ=1.54f  images=7200  channels=120  slices=60  ...      one key a line; channels are the fastest
//! {"shape": [106, 60, 120, 66, 66]}                            tifffile; last fastest
//! ```

use halotau::series::{SeriesHeader, Warning};

use crate::stream::ScanStatement;

/// Axes that are stated for a stack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// Frames in the stack.
    pub(super) n_frames: Option<u64>,
    /// Lengths above 1 of the axes of the stack, slowest first.
    lens: Vec<u64>,
    /// In words: "frames, slices and channels of ImageJ".
    origin: &'static str,
    /// Rows and columns of a page, where they are stated, too.
    page: Option<(u64, u64)>,
}

impl Description {
    pub(super) fn parse(text: &str) -> Self {
        if text.starts_with("ImageJ=") {
            return Self::of_imagej(text);
        }
        let shape = || -> Option<Vec<u64>> {
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            let shape = value.get("shape")?.as_array()?;
            shape.iter().map(serde_json::Value::as_u64).collect()
        };
        match shape().as_deref() {
            Some([lens @ .., rows, cols]) => Self {
                n_frames: lens.iter().try_fold(1_u64, |n, &len| n.checked_mul(len)),
                lens: lens.iter().copied().filter(|&len| len > 1).collect(),
                origin: "shape in the description",
                page: Some((*rows, *cols)),
            },
            _ => Self::default(),
        }
    }

    fn of_imagej(text: &str) -> Self {
        let number = |key: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line?.trim().parse().ok()
        };
        let lens = ["frames", "slices", "channels"].map(|key| number(key).unwrap_or(1));
        Self {
            n_frames: number("images"),
            lens: lens.into_iter().filter(|&len| len > 1).collect(),
            origin: "frames, slices and channels of ImageJ",
            page: None,
        }
    }

    /// The scan, where the axes fit the stack and are enough to tell rows from columns.
    pub(super) fn scan(
        &self,
        page: (u64, u64),
        n_frames: u64,
        header: &mut SeriesHeader,
    ) -> Option<ScanStatement> {
        let stated = self
            .lens
            .iter()
            .try_fold(1_u64, |n, &len| n.checked_mul(len))?;
        // A stack that was cut short has fewer frames than its description.
        let fits = self.page.is_none_or(|stated| stated == page) && stated >= n_frames;
        let lens: Option<Vec<usize>> = self
            .lens
            .iter()
            .map(|&len| usize::try_from(len).ok())
            .collect();
        let statement = match lens?.as_slice() {
            [n_rows, n_cols] if fits => ScanStatement::new(*n_rows, *n_cols, self.origin),
            [n_times, n_rows, n_cols] if fits => ScanStatement {
                n_times: Some(*n_times),
                ..ScanStatement::new(*n_rows, *n_cols, self.origin)
            },
            _ => return None,
        };
        if statement.n_times.is_none() {
            header.warnings.push(Warning::new(
                "W120",
                format!(
                    "The stack has two axes, {} x {}, which are taken for rows and columns of one scan; give data.shape if the first is time.",
                    statement.n_rows, statement.n_cols
                ),
            ));
        }
        Some(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_both_programs_are_understood() {
        let imagej =
            Description::parse("ImageJ=1.11a\nimages=24\nchannels=3\nslices=2\nframes=4\n");
        assert_eq!((imagej.n_frames, imagej.lens), (Some(24), vec![4, 2, 3]));
        let tifffile = Description::parse(r#"{"shape": [4, 1, 3, 5, 6], "axes": "QQQYX"}"#);
        assert_eq!(tifffile.n_frames, Some(12));
        assert_eq!(tifffile.lens, [4, 3]);
        for text in [
            "",
            "hello",
            "{\"shape\": 3}",
            "{\"shape\": [-1, 2, 3]}",
            "[[[[",
        ] {
            assert_eq!(Description::parse(text), Description::default(), "{text}");
        }
    }
}
