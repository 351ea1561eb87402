//! Curves, likelihoods and two-time matrices.

use std::path::Path;
use std::sync::Arc;

use halotau::correlate::{Flattening, TwoTime};
use halotau::fluctuate::Fluctuation;
use halotau::map::curves::{
    Common, Curves, Likelihoods, Matrices, PartCurves, PositionCurves, RegionSum,
};
use halotau::ndarray::{Array, Array1, Array2, Array3, Array4, Dimension, s};
use halotau::quality::Quality;
use halotau::series::{Position, Warning};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::error::{Error, Result};
use crate::zarr_store::{Chunks, GroupReader, GroupWriter, METADATA, Named, Number};

/// Bytes of a file, about: large enough to be read at once, small enough not to be held twice.
const FILE_BYTES: usize = 16 << 20;

/// Ways to compute V, and the mean counts.
const VARIANTS: usize = 7;

const G: Named = Named::new(
    "g",
    &["row", "col", "lag"],
    "1",
    "correlation of the speckle",
);
const G_WITHOUT: Named = Named::new(
    "g_without",
    &["row", "col", "sector", "lag"],
    "1",
    "correlation without each sector that holds pixels",
);
const G_PART: Named = Named::new(
    "g_part",
    &["row", "col", "part", "lag"],
    "1",
    "correlation of each half of the directions, and of spatial frequencies apart",
);
const SCAN_USED: Named = Named::new(
    "scan_used",
    &["row", "col", "time"],
    "1",
    "scans that entered g",
);
const SCAN_USED_PART: Named = Named::new(
    "scan_used_part",
    &["row", "col", "part", "time"],
    "1",
    "scans that entered g_part",
);
const FLUCTUATION: Named = Named::new(
    "fluctuation",
    &["row", "col", "variant"],
    "1",
    "V as asked for, raw per ring, raw over the band, counting, factorial, two_frame; mean counts",
);
const FLUCTUATION_WITHOUT: Named = Named::new(
    "fluctuation_without",
    &["row", "col", "band_sector"],
    "1",
    "V without each sector that holds pixels",
);
const FLUCTUATION_PART: Named = Named::new(
    "fluctuation_part",
    &["row", "col", "part"],
    "1",
    "V of each part",
);
const COUNTS: Named = Named::new(
    "entries",
    &["row", "col", "what"],
    "1",
    "sectors of g and of V that hold pixels, parts that do (bits), quality before any fit",
);
const PATTERN: Named = Named::new(
    "pattern",
    &["pixel"],
    "1",
    "mean pattern that is divided by",
);
const DISTANT_BASELINE: Named = Named::new(
    "distant_baseline",
    &["one"],
    "1",
    "g of positions that share no speckle",
);
const LIKELIHOOD: Named = Named::new(
    "likelihood",
    &["position", "number"],
    "1",
    "maximum, profile and halves of the likelihood of each position",
);
const ASKED: Named = Named::new(
    "asked",
    &["position"],
    "1",
    "1 where a position belongs to the region",
);
const REGION_SUM: Named = Named::new(
    "region_sum",
    &["time_1", "time_2"],
    "1",
    "G summed over the region",
);
const KEPT: Named = Named::new(
    "two_time",
    &["kept", "time_1", "time_2"],
    "1",
    "G of chosen positions",
);

#[derive(Debug, Serialize, Deserialize)]
struct CurveValues {
    flattening: Option<Flattening>,
    warnings: Vec<Warning>,
    /// Of the first position that has any.
    n_lags: usize,
    n_times: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct MatrixValues {
    n: usize,
    positions: Vec<Position>,
}

/// Keeps the curves of a scan of `dim` rows and columns.
///
/// # Errors
///
/// [`Error::Locked`], [`Error::Value`] where there are not as many curves as positions, [`Error::Io`].
pub fn write_curves(path: &Path, key: &str, dim: (usize, usize), curves: &Curves) -> Result<()> {
    let positions = &curves.positions;
    if positions.len() != dim.0 * dim.1 {
        return Err(Error::Value {
            what: "the curves of an analysis".to_owned(),
            expected: format!("one a position of {} x {}", dim.0, dim.1),
            found: format!("{}", positions.len()),
        });
    }
    let common = &curves.common;
    let longest = |length: &dyn Fn(&PositionCurves) -> usize| {
        positions.iter().map(|one| length(one)).max().unwrap_or(0)
    };
    let values = CurveValues {
        flattening: common.flattening,
        warnings: common.warnings.clone(),
        n_lags: longest(&|one| one.g.len()),
        n_times: longest(&|one| one.valid.len()),
    };
    let n_sectors = longest(&|one| one.without.len());
    let n_band_sectors = longest(&|one| one.fluctuation.without.len());
    super::write(path, "curves", key, &values, |group| {
        let (n_lags, n_times) = (values.n_lags, values.n_times);
        let mut lines = Lines { group, dim };
        let bits = |valid: &[bool]| -> Vec<u8> { valid.iter().map(|&bit| bit.into()).collect() };
        lines.cube(&G, n_lags, positions, |one| one.g.clone())?;
        let without = |one: &PositionCurves, sector: usize| one.without.get(sector).cloned();
        lines.fourth(&G_WITHOUT, (n_sectors, n_lags), positions, without)?;
        lines.fourth(&G_PART, (3, n_lags), positions, |one, part| {
            Some(one.parts[part].as_ref()?.g.clone())
        })?;
        lines.cube(&SCAN_USED, n_times, positions, |one| bits(&one.valid))?;
        lines.fourth(&SCAN_USED_PART, (3, n_times), positions, |one, part| {
            Some(bits(&one.parts[part].as_ref()?.valid))
        })?;
        lines.cube(&FLUCTUATION, VARIANTS, positions, |one| {
            let v = &one.fluctuation;
            let ways = [v.value, v.raw_ring, v.raw_band, v.counting];
            [&ways[..], &[v.factorial, v.two_frame, v.mean_counts]].concat()
        })?;
        let of_sectors = |one: &PositionCurves| one.fluctuation.without.clone();
        lines.cube(&FLUCTUATION_WITHOUT, n_band_sectors, positions, of_sectors)?;
        lines.cube(&FLUCTUATION_PART, 3, positions, |one| {
            let parts = one.parts.iter().map(Option::as_ref);
            parts
                .map(|part| part.map_or(f64::NAN, |part| part.fluctuation))
                .collect()
        })?;
        lines.cube(&COUNTS, 4, positions, |one| {
            let parts = one.parts.iter().enumerate();
            let parts = parts
                .map(|(bit, part)| u32::from(part.is_some()) << bit)
                .sum();
            let n_sectors = one.without.len() as u32;
            vec![
                n_sectors,
                one.fluctuation.without.len() as u32,
                parts,
                one.quality.0,
            ]
        })?;
        if let Some(pattern) = &common.pattern {
            lines
                .group
                .array(&PATTERN, &Array1::from(pattern.clone()))?;
        }
        if let Some(baseline) = common.distant_baseline {
            lines
                .group
                .array(&DISTANT_BASELINE, &Array1::from(vec![baseline]))?;
        }
        Ok(())
    })
}

/// Gives back what [`write_curves`] kept.
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Damaged`], also where it was kept under another key.
pub fn read_curves(path: &Path, key: &str) -> Result<Curves> {
    let (group, values): (_, CurveValues) = super::open(path, "curves", key)?;
    let stored = Stored::read(&group)?;
    let (n_rows, n_cols, _) = stored.g.dim();
    let one = |index: usize| stored.position(index / n_cols, index % n_cols);
    let positions = (0..n_rows * n_cols).map(|index| one(index).map(Arc::new));
    let positions: Option<Vec<_>> = positions.collect();
    let vector = |name: &Named| -> Result<Option<Vec<f64>>> {
        group
            .has(name.name)
            .then(|| group.vector(name.name))
            .transpose()
    };
    Ok(Curves {
        common: Common {
            flattening: values.flattening,
            pattern: vector(&PATTERN)?,
            distant_baseline: vector(&DISTANT_BASELINE)?.and_then(|one| one.first().copied()),
            warnings: values.warnings,
        },
        positions: positions.ok_or_else(|| unfitting(&group))?,
    })
}

/// The arrays of curves as they are kept.
struct Stored {
    g: Array3<f64>,
    g_without: Array4<f64>,
    g_part: Array4<f64>,
    scan_used: Array3<u8>,
    scan_used_part: Array4<u8>,
    fluctuation: Array3<f64>,
    fluctuation_without: Array3<f64>,
    fluctuation_part: Array3<f64>,
    counts: Array3<u32>,
}

impl Stored {
    fn read(group: &GroupReader) -> Result<Self> {
        let stored = Self {
            g: group.array(G.name)?,
            g_without: group.array(G_WITHOUT.name)?,
            g_part: group.array(G_PART.name)?,
            scan_used: group.array(SCAN_USED.name)?,
            scan_used_part: group.array(SCAN_USED_PART.name)?,
            fluctuation: group.array(FLUCTUATION.name)?,
            fluctuation_without: group.array(FLUCTUATION_WITHOUT.name)?,
            fluctuation_part: group.array(FLUCTUATION_PART.name)?,
            counts: group.array(COUNTS.name)?,
        };
        let (n_rows, n_cols, _) = stored.g.dim();
        let fits = [
            stored.scan_used.dim().0 == n_rows && stored.scan_used.dim().1 == n_cols,
            stored.fluctuation.dim() == (n_rows, n_cols, VARIANTS),
            stored.fluctuation_part.dim() == (n_rows, n_cols, 3),
            stored.counts.dim() == (n_rows, n_cols, 4),
        ];
        if fits.contains(&false) {
            return Err(unfitting(group));
        }
        Ok(stored)
    }

    /// One position; `None` where arrays do not fit together.
    fn position(&self, row: usize, col: usize) -> Option<PositionCurves> {
        let counts = |what: usize| self.counts[[row, col, what]];
        let way = |variant: usize| self.fluctuation[[row, col, variant]];
        let line = |values: &Array4<f64>, index: usize| -> Option<Vec<f64>> {
            let (n_rows, n_cols, n, length) = values.dim();
            let is_inside = row < n_rows && col < n_cols && index < n;
            is_inside.then(|| {
                (0..length)
                    .map(|at| values[[row, col, index, at]])
                    .collect()
            })
        };
        let part = |index: usize| -> Option<PartCurves> {
            let (n_rows, n_cols, n, length) = self.scan_used_part.dim();
            let is_inside = row < n_rows && col < n_cols && index < n;
            is_inside.then_some(())?;
            let used = |at: usize| self.scan_used_part[[row, col, index, at]] != 0;
            Some(PartCurves {
                g: line(&self.g_part, index)?,
                valid: (0..length).map(used).collect(),
                fluctuation: self.fluctuation_part[[row, col, index]],
            })
        };
        let mut parts = [None, None, None];
        for (index, to) in parts.iter_mut().enumerate() {
            if counts(2) >> index & 1 == 1 {
                *to = Some(part(index)?);
            }
        }
        let n_without = counts(1) as usize;
        let without = (0..n_without).map(|at| self.fluctuation_without.get([row, col, at]));
        Some(PositionCurves {
            g: self.g.slice(s![row, col, ..]).to_vec(),
            without: (0..counts(0) as usize)
                .map(|sector| line(&self.g_without, sector))
                .collect::<Option<_>>()?,
            valid: self
                .scan_used
                .slice(s![row, col, ..])
                .iter()
                .map(|&used| used != 0)
                .collect(),
            fluctuation: Fluctuation {
                value: way(0),
                raw_ring: way(1),
                raw_band: way(2),
                counting: way(3),
                factorial: way(4),
                two_frame: way(5),
                mean_counts: way(6),
                without: without.map(Option::<&f64>::copied).collect::<Option<_>>()?,
            },
            quality: Quality(counts(3)),
            parts,
        })
    }
}

/// Keeps what the likelihood found.
///
/// # Errors
///
/// [`Error::Locked`], [`Error::Io`].
pub fn write_likelihoods(path: &Path, key: &str, found: &Likelihoods) -> Result<()> {
    let numbers = found.to_numbers();
    super::write(path, "likelihoods", key, &(), |group| match &numbers {
        Some(numbers) => group.array(&LIKELIHOOD, numbers),
        None => Ok(()),
    })
}

/// Gives back what [`write_likelihoods`] kept.
///
/// # Errors
///
/// As [`read_curves`].
pub fn read_likelihoods(path: &Path, key: &str) -> Result<Likelihoods> {
    let (group, ()) = super::open(path, "likelihoods", key)?;
    let numbers: Option<Array2<f64>> = group
        .has(LIKELIHOOD.name)
        .then(|| group.array(LIKELIHOOD.name))
        .transpose()?;
    Likelihoods::from_numbers(numbers.as_ref()).ok_or_else(|| unfitting(&group))
}

/// Keeps two-time matrices.
///
/// # Errors
///
/// [`Error::Locked`], [`Error::Io`].
pub fn write_matrices(path: &Path, key: &str, matrices: &Matrices) -> Result<()> {
    let region = &matrices.region;
    let values = MatrixValues {
        n: region.n,
        positions: matrices
            .positions
            .iter()
            .filter_map(|one| one.position)
            .collect(),
    };
    super::write(path, "matrices", key, &values, |group| {
        let asked: Array1<u8> = region.asked.iter().map(|&asked| u8::from(asked)).collect();
        group.array(&ASKED, &asked)?;
        group.array(&REGION_SUM, &region.sum)?;
        let (n, side) = (matrices.positions.len(), region.sum.nrows());
        let mut kept = Array3::zeros((n, side, side));
        for (mut to, one) in kept.outer_iter_mut().zip(&matrices.positions) {
            if one.values.dim() == (side, side) {
                to.assign(&one.values);
            }
        }
        group.array(&KEPT, &kept)
    })
}

/// Gives back what [`write_matrices`] kept.
///
/// # Errors
///
/// As [`read_curves`].
pub fn read_matrices(path: &Path, key: &str) -> Result<Matrices> {
    let (group, values): (_, MatrixValues) = super::open(path, "matrices", key)?;
    let asked: Vec<u8> = group.vector(ASKED.name)?;
    let kept: Array3<f64> = group.array(KEPT.name)?;
    if kept.dim().0 != values.positions.len() {
        return Err(unfitting(&group));
    }
    let matrices = kept.outer_iter().zip(values.positions);
    Ok(Matrices {
        region: RegionSum {
            asked: asked.into_iter().map(|asked| asked != 0).collect(),
            sum: group.array(REGION_SUM.name)?,
            n: values.n,
        },
        positions: matrices
            .map(|(values, position)| TwoTime {
                position: Some(position),
                values: values.to_owned(),
            })
            .collect(),
    })
}

fn unfitting(group: &GroupReader) -> Error {
    group.damaged(METADATA, "its arrays do not fit together".to_owned())
}

/// Writes arrays whose first axes are row and column.
struct Lines<'a, 'b> {
    group: &'a mut GroupWriter<'b>,
    dim: (usize, usize),
}

impl Lines<'_, '_> {
    fn cube<T: Number>(
        &mut self,
        named: &Named,
        length: usize,
        positions: &[Arc<PositionCurves>],
        values: impl Fn(&PositionCurves) -> Vec<T>,
    ) -> Result<()> {
        let mut all = Array3::from_elem((self.dim.0, self.dim.1, length), T::FILL);
        for (index, one) in positions.iter().enumerate() {
            let mut line = all.slice_mut(s![index / self.dim.1, index % self.dim.1, ..]);
            line.iter_mut()
                .zip(values(one))
                .for_each(|(to, from)| *to = from);
        }
        self.write(named, &all)
    }

    fn fourth<T: Number>(
        &mut self,
        named: &Named,
        (n, length): (usize, usize),
        positions: &[Arc<PositionCurves>],
        values: impl Fn(&PositionCurves, usize) -> Option<Vec<T>>,
    ) -> Result<()> {
        let mut all = Array4::from_elem((self.dim.0, self.dim.1, n, length), T::FILL);
        for (index, one) in positions.iter().enumerate() {
            for entry in 0..n {
                let place = s![index / self.dim.1, index % self.dim.1, entry, ..];
                let own = values(one, entry).unwrap_or_default();
                let mut line = all.slice_mut(place);
                line.iter_mut().zip(own).for_each(|(to, from)| *to = from);
            }
        }
        self.write(named, &all)
    }

    fn write<T: Number, D: Dimension>(
        &mut self,
        named: &Named,
        values: &Array<T, D>,
    ) -> Result<()> {
        let mut file = values.shape().to_vec();
        let row_bytes = (values.len() / self.dim.0.max(1)).max(1) * size_of::<T>();
        file[0] = (FILE_BYTES / row_bytes).clamp(1, self.dim.0.max(1));
        let chunks = Some(Chunks { file, part: None });
        self.group.array_with(named, values, chunks, Map::new())
    }
}
