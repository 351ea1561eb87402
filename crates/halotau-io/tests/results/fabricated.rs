//! Small results with made-up numbers: every field different, NaN and infinity where they occur.

use std::collections::BTreeMap;
use std::path::Path;

use halotau::analysis::{Analysis, Estimate, MapSummary};
use halotau::arrhenius::Average;
use halotau::axes::{QRange, TimeAxis, TimeBasis};
use halotau::beam::Dose;
use halotau::calibrate::{Calibration, CenterOrigin, Descan, Ellipse};
use halotau::conditions::Conditions;
use halotau::correlate::{CorrelationCurves, Flattening, LagSums, TwoTime};
use halotau::current::{LeftOut, Reason};
use halotau::drift::{Course, Drift, DriftOrigin};
use halotau::dynamics::Dynamics;
use halotau::fluctuate::FluctuationMap;
use halotau::heterogeneity::{Heterogeneity, MapVariation};
use halotau::ndarray::{Array1, Array2, Array3, Array4};
use halotau::q_dependence::{QBand, QDependence};
use halotau::quality::Quality;
use halotau::recipe::{Recipe, Region};
use halotau::reduce::{Reduction, Shard};
use halotau::relate::{
    ApartRelation, CoupledRange, DecoupledRelation, Displaced, PartialRelation, RankAgreement,
    RelationChecks, StructureDynamics,
};
use halotau::relax::{FitOutcome, KwwFit, RelaxationMap};
use halotau::ring::{Annulus, RingCounts, RingSeries};
use halotau::series::{Position, SampleType, SeriesShape, Warning};
use halotau_io::reduction_folder::RingLayout;

/// A deterministic stream of numbers in [0, 1) with all bits of the mantissa in use (splitmix64).
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn number(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn map(&mut self, dim: (usize, usize)) -> Array2<f64> {
        Array2::from_shape_simple_fn(dim, || self.number())
    }
}

/// All of a value with every bit that counts: `{:?}` of a float is exact, and NaN equals NaN.
pub(crate) fn exactly<T: std::fmt::Debug>(value: &T) -> String {
    format!("{value:#?}")
}

/// The bytes of every file of a folder, by path.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

pub(crate) const N_ROWS: usize = 5;
pub(crate) const N_COLS: usize = 4;
pub(crate) const N_TIMES: usize = 6;
pub(crate) const N_PIXELS: usize = 9;

pub(crate) fn layout(sample_type: SampleType) -> RingLayout {
    RingLayout {
        n_rows: N_ROWS,
        n_cols: N_COLS,
        n_times: N_TIMES,
        n_pixels: N_PIXELS,
        // Neither divides the region, so that the shards at the edges are cut.
        shard_rows: 2,
        shard_cols: 3,
        sample_type,
    }
}

pub(crate) fn ring(shard: &Shard, sample_type: SampleType) -> RingSeries {
    let mut stream = Stream::new(shard.index as u64);
    let dim = (shard.n_rows, shard.n_cols, N_TIMES, N_PIXELS);
    let counts = match sample_type {
        SampleType::U8 => RingCounts::U8(Array4::from_shape_simple_fn(dim, || stream.bits() as u8)),
        SampleType::U16 => {
            RingCounts::U16(Array4::from_shape_simple_fn(dim, || stream.bits() as u16))
        }
        SampleType::U32 => {
            RingCounts::U32(Array4::from_shape_simple_fn(dim, || stream.bits() as u32))
        }
        _ => {
            let mut counts = Array4::from_shape_simple_fn(dim, || stream.number() as f32);
            counts[[0, 0, 1, 2]] = f32::NAN;
            RingCounts::F32(counts)
        }
    };
    let frame_valid = Array3::from_shape_simple_fn((shard.n_rows, shard.n_cols, N_TIMES), || {
        stream.number() > 0.1
    });
    // One shard in which all pixels can be trusted, the others with a few that cannot.
    let pixel_valid = (shard.index != 1).then(|| {
        Array3::from_shape_simple_fn((shard.n_rows, shard.n_cols, N_PIXELS), || {
            stream.number() > 0.2
        })
    });
    RingSeries {
        first_row: shard.first_row,
        first_col: shard.first_col,
        counts,
        frame_valid,
        pixel_valid,
    }
}

pub(crate) fn reduction(sample_type: SampleType) -> Reduction {
    let mut stream = Stream::new(7);
    let mut virtual_image =
        Array3::from_shape_simple_fn((N_TIMES, N_ROWS, N_COLS), || stream.number() * 1e4);
    virtual_image[[1, 2, 3]] = f64::NAN;
    let mut pixel_valid = Array2::from_elem((12, 11), true);
    pixel_valid[[3, 4]] = false;
    Reduction {
        name: "fabricated \"series\" é".to_owned(),
        source_shape: SeriesShape {
            n_times: N_TIMES,
            n_rows: N_ROWS + 3,
            n_cols: N_COLS + 2,
            pattern_rows: 12,
            pattern_cols: 11,
        },
        sample_type,
        region: Region {
            rows: [1, 1 + N_ROWS],
            cols: [2, 2 + N_COLS],
        },
        temperature_k: 643.15,
        step_nm: 0.8,
        time: TimeAxis::new(
            (0..N_TIMES)
                .map(|time| time as f64 * 9.887 + stream.number())
                .collect(),
            TimeBasis::Timestamps,
        )
        .unwrap(),
        calibration: Calibration {
            center_row: 5.0 + stream.number(),
            center_col: 5.0 - stream.number(),
            center_error: 0.01,
            center_origin: CenterOrigin::Halo,
            descan: Descan {
                row_per_row: stream.number(),
                ..Descan::default()
            },
            center_path: halotau::calibrate::CenterPath::default(),
            ellipse: Ellipse {
                distortion: 0.013,
                angle_rad: 0.4,
            },
            q_step_per_nm: stream.number(),
            pixel_valid,
        },
        annulus: Annulus {
            range: QRange::new(3.0, 5.8),
            bin: 2,
            grid_rows: 6,
            grid_cols: 5,
            row: (0..N_PIXELS as u32).collect(),
            col: (0..N_PIXELS as u32).rev().collect(),
            q_per_nm: (0..N_PIXELS).map(|_| 3.0 + stream.number()).collect(),
            azimuth_rad: (0..N_PIXELS).map(|_| stream.number()).collect(),
            coverage: (0..N_PIXELS).map(|_| stream.number()).collect(),
        },
        mean_pattern: stream.map((12, 11)),
        virtual_image,
        q_bins: (0..3)
            .map(|bin| QRange::new(f64::from(bin) * 0.1, f64::from(bin) * 0.1 + 0.1))
            .collect(),
        q_pixels: vec![4, 11, 19],
        q_sums: Array3::from_shape_simple_fn((N_ROWS, N_COLS, 3), || stream.number() * 1e5),
        shift_row: Array2::from_shape_fn((N_ROWS, N_COLS), |(row, col)| row as i32 - col as i32),
        shift_col: Array2::from_shape_fn((N_ROWS, N_COLS), |(row, col)| -(row as i32 * col as i32)),
        n_nonfinite: 3,
        n_saturated: u64::MAX - 1,
        n_negative: 5,
        n_missing_frames: 7,
        shard_rows: 2,
        shard_cols: 3,
    }
}

/// Conditions in which nothing is as in an ideal experiment.
fn conditions(stream: &mut Stream) -> Conditions {
    let mut conditions = Conditions::ideal(N_TIMES, (N_ROWS, N_COLS));
    let mut course = |origin| Course {
        steps: (0..N_TIMES).map(|_| stream.number()).collect(),
        error: vec![f64::INFINITY; N_TIMES],
        origin,
        disagreement: Some(stream.number()),
        expected_disagreement: None,
    };
    conditions.drift = Some(Drift {
        row: course(DriftOrigin::Both),
        col: course(DriftOrigin::Unknown),
        kernel_per_step: Some(0.641),
        likeness: vec![f64::NAN; N_TIMES],
    });
    conditions.drift_limit.after_s = Some(f64::INFINITY);
    conditions.current.relative[2] = f64::NAN;
    conditions.current.flicker = f64::NAN;
    conditions.left_out.push(LeftOut {
        time: 2,
        n_frames: Some(3),
        reason: Reason::Lost,
        relative_current: f64::NAN,
    });
    conditions.region.masked[[1, 1]] = true;
    conditions.region.vacuum[[0, 0]] = true;
    conditions.region.edge_distance = Some(stream.map((N_ROWS, N_COLS)));
    conditions.region.margin = 0.1 + 0.2;
    conditions.region.thickness_proxy[[0, 0]] = f64::NAN;
    conditions.dose = Some(Dose::new(8.9, 1.0, f64::NAN, N_TIMES, 9.887));
    conditions
}

pub(crate) fn analysis() -> Analysis {
    let mut stream = Stream::new(11);
    let dim = (N_ROWS, N_COLS);
    let n_lags = N_TIMES - 1;
    let mut relaxation = RelaxationMap {
        tau_s: stream.map(dim) * 900.0 + 100.0,
        tau_lower_s: stream.map(dim) * 90.0 + 10.0,
        tau_upper_s: stream.map(dim) * 9000.0 + 1000.0,
        ln_tau_error: stream.map(dim),
        contrast: stream.map(dim),
        contrast_error: stream.map(dim),
        stretch: stream.map(dim),
        stretch_error: Array2::zeros(dim),
        baseline: Array2::ones(dim),
        mean_relaxation_time_s: stream.map(dim),
        persistence: stream.map(dim),
        residual: stream.map(dim),
        outcome: Array2::from_elem(dim, FitOutcome::Converged),
    };
    relaxation.tau_s[[0, 1]] = f64::NAN;
    relaxation.outcome[[0, 1]] = FitOutcome::NotConverged;
    relaxation.tau_upper_s[[2, 2]] = f64::INFINITY;
    let mut quality = Array2::from_elem(dim, Quality::default());
    quality[[0, 1]].set(Quality::FIT_NO_CONVERGE);
    quality[[2, 2]].set(Quality::TAU_GT_WINDOW);
    quality[[2, 2]].set(Quality::LOW_COUNTS);
    let estimate = |stream: &mut Stream| Estimate {
        value: stream.number() * 500.0,
        error: stream.number(),
        lower: stream.number(),
        upper: f64::INFINITY,
    };
    let mut recipe = Recipe::default();
    recipe.scan.region = Some(Region {
        rows: [1, 1 + N_ROWS],
        cols: [2, 2 + N_COLS],
    });
    recipe.seed = u64::MAX;
    let summary = MapSummary {
        n_positions: 20,
        n_valid: 19,
        n_censored: 1,
        tau_mean_s: estimate(&mut stream),
        tau_log_mean_s: estimate(&mut stream),
        tau_median_s: estimate(&mut stream),
        tau_ensemble_s: Estimate {
            error: f64::NAN,
            ..estimate(&mut stream)
        },
        tau_within_record_s: Estimate::not_known(),
        tau_spread_s: [123.456, f64::INFINITY],
        ln_tau_sd: f64::NAN,
        fluctuation_mean: estimate(&mut stream),
        fluctuation_unbiased_mean: estimate(&mut stream),
        fluctuation_sd: stream.number(),
        contrast_mean: estimate(&mut stream),
        flag_counts: vec![("tau_gt_window".to_owned(), 1)],
    };
    let matrix = |stream: &mut Stream| {
        Array2::from_shape_simple_fn((N_TIMES, N_TIMES), || 1.0 + stream.number())
    };
    Analysis {
        lag_sums: LagSums::Fourier,
        dynamics: Some(Dynamics {
            n_tiles: 4,
            n_positions: 9,
            ..Dynamics::default()
        }),
        name: "fabricated".to_owned(),
        temperature_k: 643.15,
        step_nm: 0.8,
        time: TimeAxis::uniform(N_TIMES, 9.887, TimeBasis::Total).unwrap(),
        recipe,
        n_ring_pixels: 188,
        n_ring_speckles: Some(42.25),
        flattening: Some(Flattening::Radial),
        interval_factor: Some(1.75),
        q_dependence: Some(QDependence {
            bands: vec![QBand {
                q_min_per_nm: 3.0,
                q_max_per_nm: 3.7,
                q_per_nm: 3.4,
                tau_ratio: estimate(&mut stream),
            }],
            n_positions: 19,
            n_effective: f64::NAN,
            p_value: 0.25,
            outer_over_inner: estimate(&mut stream),
            slope: Estimate::not_known(),
        }),
        distant_baseline: Some(1.000_3),
        curves: CorrelationCurves {
            lag_s: (1..N_TIMES).map(|lag| lag as f64 * 9.887).collect(),
            n_pairs: (1..N_TIMES).rev().collect(),
            g: Array3::from_shape_simple_fn((N_ROWS, N_COLS, n_lags), || 1.0 + stream.number()),
            g_error: Array3::from_shape_simple_fn((N_ROWS, N_COLS, n_lags), || stream.number()),
        },
        fluctuation: FluctuationMap {
            values: stream.map(dim),
            error: stream.map(dim),
            raw_ring: stream.map(dim),
            raw_band: stream.map(dim),
            counting: stream.map(dim),
            factorial: Array2::from_elem(dim, f64::NAN),
            two_frame: stream.map(dim),
            mean_counts: stream.map(dim),
        },
        relaxation,
        quality,
        conditions: conditions(&mut stream),
        two_time: vec![
            TwoTime {
                position: None,
                values: matrix(&mut stream),
            },
            TwoTime {
                position: Some(Position { row: 3, col: 1 }),
                values: matrix(&mut stream),
            },
        ],
        two_time_all: Some(Array3::from_shape_simple_fn(
            (N_ROWS * N_COLS, N_TIMES, N_TIMES),
            || stream.number(),
        )),
        ensemble_g: Array1::from_shape_simple_fn(n_lags, || 1.0 + stream.number()).to_vec(),
        ensemble_fit: KwwFit {
            tau_s: 432.1,
            contrast: 0.05,
            stretch: 1.0,
            baseline: 1.0,
            outcome: FitOutcome::Converged,
            cost: 1e-9,
            condition: f64::INFINITY,
            iterations: 12,
        },
        examples: Some([Position { row: 3, col: 1 }, Position { row: 0, col: 2 }]),
        summary,
        relation: StructureDynamics {
            spearman: f64::NAN,
            n: 2,
        },
        heterogeneity: Some(Heterogeneity {
            ln_tau: Some(MapVariation {
                n_positions: 19,
                n_effective: f64::NAN,
                n_censored: 1,
                sd: estimate(&mut stream),
                p_value: 0.125,
                reliability: estimate(&mut stream),
                map_reliability: 0.5,
                covariance: Vec::new(),
                apparent_length: Estimate::not_known(),
                length: None,
            }),
            fluctuation: None,
            probe_length: f64::NAN,
            unit: "steps".to_owned(),
        }),
        relation_checks: Some(relation_checks()),
        decoupled: Some(DecoupledRelation {
            correlation: Estimate {
                value: -0.1,
                error: f64::NAN,
                lower: -1.0,
                upper: 1.0,
            },
            p_value: 1.0,
            n: 12,
            n_effective: 4.5,
            tau_reliability: 0.25,
            fluctuation_reliability: 0.1,
            corrected: None,
            detectable: 1.0,
        }),
        warnings: vec![Warning::new("W021", "The times differ by 7 %.")],
    }
}

/// Three temperatures with their Arrhenius fits left out: tables do not need them.
pub(crate) fn study() -> halotau::analysis::Study {
    let at = |temperature_k: f64| Analysis {
        temperature_k,
        ..analysis()
    };
    halotau::analysis::Study {
        zero_dose: Vec::new(),
        relation: None,
        alike: None,
        arrhenius_without_beam: None,
        analyses: vec![at(633.15), at(643.15), at(653.15)],
        arrhenius: Vec::new(),
        headline: Average::LogMean,
    }
}

/// Numbers of every kind: an interval that is open, a list with a gap left to the reader of NaN.
fn relation_checks() -> RelationChecks {
    let estimate = Estimate {
        value: 0.3,
        error: 0.1,
        lower: f64::NEG_INFINITY,
        upper: 0.5,
    };
    RelationChecks {
        apart: Some(ApartRelation {
            correlation: estimate,
            p_value: 0.02,
            n: 64,
            n_effective: 31.5,
        }),
        gap_per_nm: 0.654,
        partial: vec![PartialRelation {
            without: vec!["intensity".to_owned()],
            correlation: estimate,
            p_value: 0.03,
            n: 60,
            n_effective: 30.5,
        }],
        coupled: CoupledRange {
            same_half: 0.7,
            as_here: 0.12,
            one_tau: 0.8,
        },
        kendall: RankAgreement {
            kendall: 0.2,
            p_value: 0.04,
        },
        n_effective_dutilleul: 29.0,
        p_torus: 0.05,
        p_phases: 0.06,
        displaced: Displaced {
            profile: vec![0.3, f64::INFINITY, -0.1],
            peak: [0, -1],
            peak_correlation: 0.31,
        },
    }
}
