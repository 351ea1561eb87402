//! Is every shape of beam stop found, and nothing else masked?
//!
//! Patterns are made here from a transmission drawn by hand and a plain speckle field, with no code of the crate's own
//! simulation: whoever finds stops must not also decide what a stop looks like.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use halotau::calibrate::measure::{Request, measure};
use halotau::ndarray::{Array2, Array3, Array5, s};
use halotau::recipe::Region;
use halotau::source::{FrameSource, MemorySeries};
use halotau::survey::{SurveyPlan, survey};

/// Share of the stop's pixels that must be found.
const LEAST_FOUND: f64 = 0.98;

/// Share of the good pixels of the halo that may be lost.
const MOST_LOST: f64 = 0.02;

/// Lengths are given for 66 pixels a side.
const SIDE: f64 = 66.0;

/// Radii of the ring whose pixels must not be lost: 3.0 to 5.8 1/nm at 0.232 1/nm a pixel.
const RING: [f64; 2] = [13.0, 25.0];

/// Numbers from splitmix64.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn poisson(&mut self, mean: f64) -> u16 {
        if mean > 60.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u16;
        }
        let (limit, mut product, mut n) = ((-mean).exp(), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            n += 1;
        }
        n
    }
}

/// One experiment; lengths in pixels of a pattern of 66 a side, from the center (row down, col to the right).
struct Case {
    name: &'static str,
    /// Share that passes at a displacement from the center of the detector.
    passes: fn(f64, f64) -> f64,
    /// Level beside the halo, relative to its height; beyond it, this is what is left at the edge of the detector.
    background: [f64; 2],
    /// Counts at the top of the halo.
    counts: f64,
    /// Height of the direct beam over the halo; a disc of radius 2.7.
    direct: f64,
    /// Shift of the pattern's center.
    center: [f64; 2],
    /// Movement of the center over the scan, end to end, along columns.
    descan: f64,
    /// Independent speckle fields in the scan.
    n_areas: usize,
}

const PLAIN: Case = Case {
    name: "no stop",
    passes: |_, _| 1.0,
    background: [0.35, 0.35],
    counts: 20.0,
    direct: 0.0,
    center: [0.6, -0.9],
    descan: 0.0,
    n_areas: 32,
};

fn disc(row: f64, col: f64, radius: f64) -> bool {
    row * row + col * col < radius * radius
}

/// From 1 at `edge` to the leak `width` farther in.
fn soft(distance: f64, edge: f64, width: f64) -> f64 {
    ((distance - edge) / width + 0.5).clamp(0.02, 1.0)
}

fn shade(is_shaded: bool) -> f64 {
    if is_shaded { 0.02 } else { 1.0 }
}

fn cases() -> Vec<Case> {
    let disc_and_arm = |row: f64, col: f64| {
        shade(disc(row, col, 5.6) || (row > 0.0 && (col + 0.3 * row).abs() < 1.4))
    };
    vec![
        PLAIN,
        Case {
            name: "no stop, direct beam",
            direct: 300.0,
            ..PLAIN
        },
        Case {
            name: "no stop, hardly any counts at the edge",
            background: [0.35, 0.003],
            counts: 2.0,
            ..PLAIN
        },
        Case {
            name: "no stop, few areas",
            n_areas: 3,
            ..PLAIN
        },
        Case {
            name: "disc",
            passes: |row, col| shade(disc(row, col, 5.6)),
            ..PLAIN
        },
        Case {
            name: "disc and arm",
            passes: disc_and_arm,
            ..PLAIN
        },
        Case {
            name: "disc and arm, few counts",
            passes: disc_and_arm,
            counts: 2.0,
            background: [0.35, 0.05],
            ..PLAIN
        },
        Case {
            name: "disc and arm, few areas",
            passes: disc_and_arm,
            n_areas: 4,
            ..PLAIN
        },
        Case {
            name: "disc and arm, moving pattern",
            passes: disc_and_arm,
            descan: 6.0,
            ..PLAIN
        },
        Case {
            name: "bar from border to border",
            passes: |row, col| shade(disc(row, col, 4.0) || (row + 0.5 * col).abs() < 1.8),
            ..PLAIN
        },
        Case {
            name: "square with an arm",
            passes: |row, col| {
                shade(row.abs().max(col.abs()) < 5.2 || (col < 0.0 && row.abs() < 1.6))
            },
            ..PLAIN
        },
        Case {
            name: "wedge",
            passes: |row, col| shade(col > -3.0 && row.abs() < 0.18 * (col + 3.0) + 1.5),
            ..PLAIN
        },
        Case {
            name: "soft edge",
            passes: |row, col| {
                let arm = if row > 0.0 { col.abs() } else { row.hypot(col) };
                soft(row.hypot(col), 6.0, 3.0).min(soft(arm, 1.8, 2.0))
            },
            ..PLAIN
        },
        Case {
            name: "half shade around",
            passes: |row, col| {
                let arm = col < 0.0 && (row - 0.2 * col).abs() < 1.6;
                if disc(row, col, 5.0) || arm {
                    0.02
                } else if disc(row, col, 7.2) {
                    0.5
                } else {
                    1.0
                }
            },
            ..PLAIN
        },
        Case {
            name: "beside the direct beam",
            passes: |row, col| shade(col > 6.0 && row.abs() < 2.6),
            direct: 300.0,
            ..PLAIN
        },
        Case {
            name: "direct beam shines through",
            passes: disc_and_arm,
            direct: 300.0,
            ..PLAIN
        },
        Case {
            name: "far from the middle",
            passes: |row, col| {
                shade(disc(row - 4.0, col + 5.0, 6.5) || (row > 4.0 && (col + 5.0).abs() < 1.7))
            },
            center: [3.0, -3.0],
            ..PLAIN
        },
    ]
}

/// Speckle of contrast 1/2: two intensities of a smoothed random field, mean 1.
fn speckle(side: usize, width: usize, random: &mut Random) -> Array2<f64> {
    let mut total = Array2::zeros((side, side));
    for _ in 0..4 {
        let wide = side + width;
        let white = Array2::from_shape_simple_fn((wide, wide), || random.normal());
        let mut field = Array2::<f64>::zeros((side, side));
        // A few shifted copies instead of all within the width: as smooth on its scale, and quick.
        let copies: Vec<usize> = (0..width).step_by((width / 4).max(1)).collect();
        for &down in &copies {
            for &across in &copies {
                field += &white.slice(s![down..down + side, across..across + side]);
            }
        }
        field /= copies.len() as f64;
        total += &(&field * &field);
    }
    total / 4.0
}

/// Frames of 2 x 4 positions and 8 times.
fn series(case: &Case, side: usize, seed: u64) -> (MemorySeries, Array2<f64>) {
    let scale = side as f64 / SIDE;
    let mut random = Random(seed);
    let middle = (side as f64 - 1.0) / 2.0;
    let passed = Array2::from_shape_fn((side, side), |(row, col)| {
        (case.passes)((row as f64 - middle) / scale, (col as f64 - middle) / scale)
    });
    let width = (4.0 * scale) as usize;
    let fields: Vec<Array2<f64>> = (0..case.n_areas)
        .map(|_| speckle(side, width, &mut random))
        .collect();
    let (n_times, n_rows, n_cols) = (8, 2, 4);
    // Larger patterns get the same electrons.
    let height = case.counts / (scale * scale);
    let mut counts = Array5::<u16>::zeros((n_times, n_rows, n_cols, side, side));
    for ((time, row, col), _) in Array3::<u8>::zeros((n_times, n_rows, n_cols)).indexed_iter() {
        let mut frame = counts.slice_mut(s![time, row, col, .., ..]);
        let field = &fields[((time * n_rows + row) * n_cols + col) % case.n_areas];
        let down = case.center[0];
        let across = case.center[1] + case.descan * (col as f64 / (n_cols - 1) as f64 - 0.5);
        for ((pattern_row, pattern_col), count) in frame.indexed_iter_mut() {
            let row = (pattern_row as f64 - middle) / scale - down;
            let col = (pattern_col as f64 - middle) / scale - across;
            let radius = row.hypot(col);
            let widths = (radius - 19.0) / 2.4;
            let [inside, edge] = case.background;
            let beyond = ((radius - 19.0) / 14.0).clamp(0.0, 1.0);
            let background = inside * (edge / inside).powf(beyond);
            let mut mean = height * (background + (-widths * widths / 2.0).exp());
            mean *= field[[pattern_row, pattern_col]];
            if radius < 2.7 {
                mean += case.direct * height;
            }
            *count = random.poisson(mean * passed[[pattern_row, pattern_col]]);
        }
    }
    (
        MemorySeries::from_counts(case.name, counts.view()).unwrap(),
        passed,
    )
}

#[test]
fn every_stop_is_found_and_nothing_else_is_masked() {
    let mut failures = Vec::new();
    // Large patterns differ in how the edge is drawn.
    let large = [
        "no stop, hardly any counts at the edge",
        "disc and arm, few areas",
    ];
    let small = cases().into_iter().map(|case| (66, case));
    let large = cases()
        .into_iter()
        .filter(|case| large.contains(&case.name))
        .map(|case| (264, case));
    for (side, case) in small.chain(large) {
        let (series, passed) = series(&case, side, 7 + side as u64);
        let shape = series.header().shape;
        let region = Region {
            rows: [0, shape.n_rows],
            cols: [0, shape.n_cols],
        };
        let plan = SurveyPlan::new(series.header(), region, 1 << 30);
        let sampled = survey(&series, &plan, None, None, &|_| true).unwrap();
        let measured = match measure(&sampled, &Request::all((side, side))) {
            Ok(measured) => measured,
            Err(error) => {
                failures.push(format!("{} at {side}: {error}", case.name));
                continue;
            }
        };
        let shaded = &measured.beam_stop.as_ref().unwrap().shaded;
        let scale = side as f64 / SIDE;
        let middle = (side as f64 - 1.0) / 2.0;
        let [
            mut n_stop,
            mut n_found,
            mut n_ring,
            mut n_lost,
            mut n_masked,
        ] = [0; 5];
        for ((row, col), &passed) in passed.indexed_iter() {
            let down = (row as f64 - middle) / scale - case.center[0];
            let across = (col as f64 - middle) / scale - case.center[1];
            let is_shaded = usize::from(shaded[[row, col]]);
            n_masked += is_shaded;
            if passed < 0.6 {
                n_stop += 1;
                n_found += is_shaded;
            } else if passed > 0.95 && (RING[0]..RING[1]).contains(&down.hypot(across)) {
                n_ring += 1;
                n_lost += usize::from(!measured.pixel_valid[[row, col]]);
            }
        }
        let enough_found = n_found as f64 >= LEAST_FOUND * n_stop as f64;
        let few_lost = n_lost as f64 <= MOST_LOST * n_ring as f64;
        let nothing_invented = n_stop > 0 || n_masked == 0;
        if !(enough_found && few_lost && nothing_invented) {
            failures.push(format!(
                "{} at {side}: {n_found} of {n_stop} pixels of the stop found, {n_lost} of {n_ring} of the ring lost, \
                 {n_masked} masked",
                case.name
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
