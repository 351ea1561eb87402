//! Reading a reduction, shard by shard.

use std::path::{Path, PathBuf};

use halotau::axes::{QRange, TimeAxis};
use halotau::ndarray::{Array3, Array4, Dimension};
use halotau::reduce::{Reduction, Shard};
use halotau::ring::{Annulus, RingCounts, RingSeries};
use halotau::series::SampleType;
use serde_json::Value;

use super::{
    Attributes, CURE, FORMAT, FRAME_VALID, KIND, PIXEL_VALID, RING_COUNTS, RingLayout, Scalars,
};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::zarr_store::{ChunkedArray, GroupReader, METADATA, Number};

/// A finished `reduction.zarr`.
#[derive(Debug)]
pub struct ReductionReader {
    folder: PathBuf,
    group: GroupReader,
    attributes: Attributes,
    scalars: Scalars,
    shards: Vec<Shard>,
    ring_counts: ChunkedArray,
    frame_valid: ChunkedArray,
    pixel_valid: ChunkedArray,
}

impl ReductionReader {
    /// Opens a reduction and checks that all of its files are there with their lengths.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is none, [`Error::NotResults`] where it is something else, [`Error::Incomplete`] where
    /// shards are missing, [`Error::Damaged`] where a file is not what was written.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = path.join(METADATA);
        let bytes =
            std::fs::read(&metadata).map_err(|error| Error::io(&metadata, "read", error))?;
        let damaged = |problem: &str| Error::Damaged {
            path: metadata.clone(),
            problem: problem.to_owned(),
            cure: CURE,
        };
        let unverified: Value =
            serde_json::from_slice(&bytes).map_err(|_| damaged("it is not JSON"))?;
        let unverified = &unverified["attributes"];
        if unverified["kind"] != KIND {
            return Err(Error::NotResults {
                path: path.to_owned(),
                problem: "is not a reduction made by halotau",
            });
        }
        if unverified["complete"] == Value::Bool(false) {
            let begun: Attributes = serde_json::from_value(unverified.clone())
                .map_err(|_| damaged("its attributes are not those of this version of halotau"))?;
            return Err(Error::Incomplete {
                path: path.to_owned(),
                done: Manifest::read_all(path)?.shards.len(),
                total: begun.layout.shards().len(),
            });
        }
        let group = GroupReader::open(path, CURE)?;
        let attributes: Attributes = group.attributes()?;
        if attributes.format != FORMAT {
            return Err(damaged("it was written by another version of halotau"));
        }
        let scalars = attributes
            .reduction
            .clone()
            .ok_or_else(|| damaged("its attributes lack the reduction"))?;
        Ok(Self {
            folder: path.to_owned(),
            ring_counts: group.chunked(RING_COUNTS.name)?,
            frame_valid: group.chunked(FRAME_VALID.name)?,
            pixel_valid: group.chunked(PIXEL_VALID.name)?,
            shards: attributes.layout.shards(),
            group,
            attributes,
            scalars,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Lengths and number type of the counts.
    pub fn layout(&self) -> RingLayout {
        self.attributes.layout
    }

    /// What the pass was asked to do, with the fingerprint of the input.
    pub fn parameters(&self) -> &Value {
        &self.attributes.parameters
    }

    /// The shards, row by row.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Everything but the counts on the annulus.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where a file is not what was written.
    pub fn reduction(&self) -> Result<Reduction> {
        let group = &self.group;
        let scalars = self.scalars.clone();
        group.verify(&self.attributes.coordinates)?;
        let q_min = group.vector::<f64>("q_min_per_nm")?;
        let q_max = group.vector::<f64>("q_max_per_nm")?;
        let mut calibration = scalars.calibration;
        calibration.pixel_valid = group.array("detector_valid")?;
        Ok(Reduction {
            name: scalars.name,
            source_shape: scalars.source_shape,
            sample_type: scalars.sample_type,
            region: scalars.region,
            temperature_k: scalars.temperature_k,
            step_nm: scalars.step_nm,
            time: TimeAxis::new(group.vector("time_s")?, scalars.time_basis)?,
            calibration,
            annulus: Annulus {
                range: scalars.annulus_range_per_nm,
                bin: scalars.bin,
                grid_rows: scalars.grid_rows,
                grid_cols: scalars.grid_cols,
                row: group.vector("pixel_row")?,
                col: group.vector("pixel_col")?,
                q_per_nm: group.vector("pixel_q_per_nm")?,
                azimuth_rad: group.vector("pixel_azimuth_rad")?,
                coverage: group.vector("pixel_coverage")?,
            },
            mean_pattern: group.array("mean_pattern")?,
            virtual_image: group.array("virtual_image")?,
            q_bins: q_min
                .into_iter()
                .zip(q_max)
                .map(|(min, max)| QRange::new(min, max))
                .collect(),
            q_pixels: group.vector("q_pixels")?,
            q_sums: group.array("q_sums")?,
            shift_row: group.array("shift_row")?,
            shift_col: group.array("shift_col")?,
            n_nonfinite: scalars.n_nonfinite,
            n_saturated: scalars.n_saturated,
            n_negative: scalars.n_negative,
            n_missing_frames: scalars.n_missing_frames,
            shard_rows: self.attributes.layout.shard_rows,
            shard_cols: self.attributes.layout.shard_cols,
        })
    }

    /// The counts of one shard, each byte checked.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where a file is not what was written, [`Error::Value`] for a shard of another layout.
    pub fn shard(&self, shard: &Shard) -> Result<RingSeries> {
        if self.shards.get(shard.index) != Some(shard) {
            return Err(Error::Value {
                what: format!("shard {} of {}", shard.index, self.folder.display()),
                expected: "a shard of the stored layout".to_owned(),
                found: format!("{shard:?}"),
            });
        }
        let [row, col] = self.attributes.layout.chunk(shard);
        let counts = match self.attributes.layout.sample_type {
            SampleType::U8 => RingCounts::U8(self.counts([row, col])?),
            SampleType::U16 => RingCounts::U16(self.counts([row, col])?),
            SampleType::U32 => RingCounts::U32(self.counts([row, col])?),
            _ => RingCounts::F32(self.counts([row, col])?),
        };
        let frame_valid = self
            .chunk(&self.frame_valid, &[row, col, 0])?
            .ok_or_else(|| self.missing(&self.frame_valid, &[row, col, 0]))?;
        Ok(RingSeries {
            first_row: shard.first_row,
            first_col: shard.first_col,
            counts,
            frame_valid,
            pixel_valid: self.chunk(&self.pixel_valid, &[row, col, 0])?,
        })
    }

    fn counts<T: Number>(&self, [row, col]: [usize; 2]) -> Result<Array4<T>> {
        let chunk = [row, col, 0, 0];
        self.chunk(&self.ring_counts, &chunk)?
            .ok_or_else(|| self.missing(&self.ring_counts, &chunk))
    }

    fn chunk<T: Number, D: Dimension>(
        &self,
        array: &ChunkedArray,
        chunk: &[usize],
    ) -> Result<Option<halotau::ndarray::Array<T, D>>> {
        let Some(values) = self.group.chunk::<T>(array, chunk)? else {
            return Ok(None);
        };
        values
            .into_dimensionality()
            .map(Some)
            .map_err(|error| self.group.damaged(&array.key(chunk), error.to_string()))
    }

    fn missing(&self, array: &ChunkedArray, chunk: &[usize]) -> Error {
        self.group.damaged(
            &array.key(chunk),
            "the list of files does not know it".to_owned(),
        )
    }

    /// Frames that hold data, of the whole region, `[row, col, time]`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where a file is not what was written.
    pub fn frame_valid(&self) -> Result<Array3<bool>> {
        self.group.array(FRAME_VALID.name)
    }
}
