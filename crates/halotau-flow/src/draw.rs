//! The figures of a study, drawn once and used for files and report alike.

use std::fs;
use std::path::Path;

use halotau::analysis::Analysis;
use halotau::ndarray::{Array2, Array3, s};
use halotau::recipe::OutputSettings;
use halotau::reduce::Reduction;
use halotau::ring::RingSeries;
use halotau::series::Position;
use halotau::with_counts;
use halotau_figure::Figure;
use halotau_figure::figures::{self, ExamplePatterns, TimeTraces};
use halotau_io::taken::Pictures;
use rayon::prelude::*;

use crate::context::{Context, Unit};
use crate::error::{Error, Result};
use crate::reduce::Reduced;
use crate::taken::Kept;

/// Patterns shown of each example position, from the first scan to the last.
const N_EXAMPLE_PATTERNS: usize = 5;

/// Dots an inch of the PNG files: print quality at the drawn size.
const PNG_DPI: f64 = 300.0;

/// What the figures of one temperature need beside its analysis.
#[derive(Debug)]
pub struct Drawable {
    reduction: Option<Reduction>,
    examples: Option<ExamplePatterns>,
    traces: TimeTraces,
}

impl Drawable {
    /// Takes what is needed from a reduction, so that its counts can be dropped; what an earlier analysis took of it is not read again.
    ///
    /// # Errors
    ///
    /// Where a shard is damaged.
    pub fn of(
        reduced: &Reduced,
        analysis: &Analysis,
        kept: &Kept,
        context: &Context<'_>,
    ) -> Result<Self> {
        let reduction = &reduced.reduction;
        let mut traces = TimeTraces::of(reduction);
        let before = kept.pictures(&analysis.recipe, context);
        let before = before.filter(|before| before.ring_mean.len() == reduction.time.len());
        let positions: Vec<Position> = analysis.examples.into_iter().flatten().collect();
        let shown = shown(reduction);
        let n_patterns = positions.len() * shown.len();
        let grid = (reduction.annulus.grid_rows, reduction.annulus.grid_cols);
        let is_same = |before: &Pictures| {
            before.positions == positions && before.patterns.dim() == (n_patterns, grid.0, grid.1)
        };
        let pictures = match before {
            Some(before) if is_same(&before) => before,
            before => {
                let ring_mean = match before {
                    Some(before) => before.ring_mean,
                    None => ring_mean(reduced, analysis)?,
                };
                let mut patterns = Array3::zeros((n_patterns, grid.0, grid.1));
                let made = example_patterns(reduced, &positions, &shown)?;
                for (mut to, pattern) in patterns.outer_iter_mut().zip(&made) {
                    to.assign(pattern);
                }
                let pictures = Pictures {
                    ring_mean,
                    positions,
                    patterns,
                };
                kept.keep_pictures(&analysis.recipe, &pictures, context);
                pictures
            }
        };
        traces.ring_mean = pictures.ring_mean;
        let times_s = reduction.time.times_s();
        let patterns = pictures.patterns.outer_iter();
        let patterns: Vec<Array2<f64>> = patterns.map(|pattern| pattern.to_owned()).collect();
        Ok(Self {
            reduction: Some(reduction.clone()),
            examples: analysis.examples.map(|positions| ExamplePatterns {
                positions,
                times_s: shown.iter().map(|&time| times_s[time]).collect(),
                patterns,
            }),
            traces,
        })
    }

    /// What can be drawn where the reduction was not kept.
    pub fn without_reduction(analysis: &Analysis) -> Self {
        let times_s = analysis.time.times_s().to_vec();
        Self {
            reduction: None,
            examples: None,
            traces: TimeTraces {
                times_s,
                total_counts: Vec::new(),
                ring_mean: Vec::new(),
            },
        }
    }

    /// The figures of the temperature.
    ///
    /// # Errors
    ///
    /// Where a figure cannot be drawn.
    pub fn figures(&self, analysis: &Analysis) -> Result<Vec<Figure>> {
        Ok(figures::of_analysis(
            analysis,
            self.examples.as_ref(),
            self.reduction.as_ref(),
            &self.traces,
        )?)
    }
}

/// Mean counts of a pixel of the correlated ring in each scan, over all positions; NaN without valid frames.
fn ring_mean(reduced: &Reduced, analysis: &Analysis) -> Result<Vec<f64>> {
    let reduction = &reduced.reduction;
    let ring = reduction
        .annulus
        .ring(analysis.recipe.dynamics.q_range_per_nm)?;
    let mut sums = vec![(0.0, 0.0); reduction.time.len()];
    for shard in reduction.shards() {
        let rings = reduced.shard(&shard)?;
        with_counts!(&rings.counts, counts => {
            for (frames, valid) in counts.outer_iter().zip(rings.frame_valid.outer_iter()) {
                for (series, valid) in frames.outer_iter().zip(valid.outer_iter()) {
                    for ((scan, &valid), (sum, n)) in series.outer_iter().zip(&valid).zip(&mut sums) {
                        if !valid {
                            continue;
                        }
                        for &pixel in &ring.pixels {
                            let count = f64::from(scan[pixel]) / reduction.annulus.coverage[pixel];
                            if count.is_finite() {
                                *sum += count;
                                *n += 1.0;
                            }
                        }
                    }
                }
            }
        });
    }
    Ok(sums.into_iter().map(|(sum, n)| sum / n).collect())
}

/// Refuses PDF figures where this build cannot draw them.
///
/// # Errors
///
/// [`halotau::Error::Setting`] with how to get a build that can.
pub fn check_pdf(pdf: bool) -> halotau::Result<()> {
    if !pdf || cfg!(feature = "pdf") {
        return Ok(());
    }
    Err(halotau::Error::Setting {
        key: "output.pdf".to_owned(),
        value: pdf.to_string(),
        problem: "this build of halotau draws no PDF; the SVG figures hold the same, and \
                  `cargo install --path crates/halotau-cli --features pdf` gives a build that does"
            .to_owned(),
    })
}

/// Writes figures as SVG, and as PNG and PDF where asked.
///
/// # Errors
///
/// [`Error::Create`] and [`Error::Write`]; those of [`check_pdf`].
pub fn write(
    figures: &[Figure],
    folder: &Path,
    output: &OutputSettings,
    context: &Context<'_>,
) -> Result<()> {
    check_pdf(output.pdf)?;
    fs::create_dir_all(folder).map_err(|source| Error::create(folder, source))?;
    context.stage(
        format!("draw {}", folder.display()),
        figures.len() as u64,
        Unit::Items,
    );
    context.install(|| {
        figures.par_iter().try_for_each(|figure| -> Result<()> {
            let svg = folder.join(format!("{}.svg", figure.id));
            fs::write(&svg, figure.svg.to_xml()).map_err(|source| Error::write(&svg, source))?;
            let other = |kind: &str, bytes: Vec<u8>| {
                let path = folder.join(format!("{}.{kind}", figure.id));
                fs::write(&path, bytes).map_err(|source| Error::write(&path, source))
            };
            if output.png {
                other("png", halotau_figure::png(&figure.svg, PNG_DPI)?)?;
            }
            #[cfg(feature = "pdf")]
            if output.pdf {
                other("pdf", halotau_figure::pdf(&figure.svg)?)?;
            }
            context.advance(1);
            Ok(())
        })
    })?;
    context.stage_done();
    Ok(())
}

/// Scans whose patterns are shown.
fn shown(reduction: &Reduction) -> Vec<usize> {
    let n_times = reduction.time.len();
    let n_shown = N_EXAMPLE_PATTERNS.min(n_times);
    (0..n_shown)
        .map(|at| at * (n_times - 1) / (n_shown - 1).max(1))
        .collect()
}

fn example_patterns(
    reduced: &Reduced,
    positions: &[Position],
    shown: &[usize],
) -> Result<Vec<Array2<f64>>> {
    let reduction = &reduced.reduction;
    let all = reduction.shards();
    let mut patterns = Vec::new();
    for &position in positions {
        let shard = all.iter().find(|shard| {
            (shard.first_row..shard.first_row + shard.n_rows).contains(&position.row)
                && (shard.first_col..shard.first_col + shard.n_cols).contains(&position.col)
        });
        let shard = shard.expect("every position lies in a shard");
        let rings = reduced.shard(shard)?;
        patterns.extend(
            shown
                .iter()
                .map(|&time| annulus_pattern(reduction, &rings, position, time)),
        );
    }
    Ok(patterns)
}

/// The counts of one frame on the binned grid; NaN outside the annulus.
fn annulus_pattern(
    reduction: &Reduction,
    rings: &RingSeries,
    position: Position,
    time: usize,
) -> Array2<f64> {
    let annulus = &reduction.annulus;
    let mut pattern = Array2::from_elem((annulus.grid_rows, annulus.grid_cols), f64::NAN);
    let (row, col) = (
        position.row - rings.first_row,
        position.col - rings.first_col,
    );
    with_counts!(&rings.counts, counts => {
        for (pixel, &count) in counts.slice(s![row, col, time, ..]).iter().enumerate() {
            let at = [annulus.row[pixel] as usize, annulus.col[pixel] as usize];
            pattern[at] = f64::from(count) / annulus.coverage[pixel];
        }
    });
    pattern
}
