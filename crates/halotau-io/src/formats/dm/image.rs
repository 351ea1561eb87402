//! Which image of a DigitalMicrograph file holds the frames, and what do its tags say about it?
//!
//! A file holds several images: a thumbnail, and those that its documents show, reached by
//! `DocumentObjectList -> ImageSourceList -> ImageRef -> ImageList`. Of the latter the one with the most axes is taken,
//! or the one that the person named. Dimensions and calibrations are listed from the fastest axis to the slowest.

use std::path::Path;

use halotau::series::SampleType;

use super::tags::{ArrayPlace, Group, TagTree};
use crate::error::{Error, Result};
use crate::number_type::NumberType;

/// An image of a file.
pub(super) struct Image<'a> {
    pub(super) index: u64,
    pub(super) group: &'a Group,
    /// Lengths, fastest axis first, without trailing axes of length 1.
    pub(super) dims: Vec<u64>,
    pub(super) pixels: ArrayPlace,
}

/// Calibration of an axis: `value = (index - origin) · scale`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Calibration {
    pub(super) scale: f64,
    pub(super) units: String,
}

/// The number type of a `DataType` code, or the name of what is no count.
pub(super) fn number_type(code: u64) -> Result<NumberType, &'static str> {
    Ok(match code {
        1 => NumberType::Sample(SampleType::I16),
        2 => NumberType::Sample(SampleType::F32),
        6 => NumberType::Sample(SampleType::U8),
        7 => NumberType::Sample(SampleType::I32),
        9 => NumberType::I8,
        10 => NumberType::Sample(SampleType::U16),
        11 => NumberType::Sample(SampleType::U32),
        12 => NumberType::Sample(SampleType::F64),
        14 => NumberType::Bool,
        39 => NumberType::I64,
        40 => NumberType::U64,
        3 | 5 | 13 | 27 | 28 => return Err("complex numbers"),
        8 | 23 => return Err("colors"),
        _ => return Err("of an unknown type"),
    })
}

impl<'a> Image<'a> {
    fn of(name: &str, group: &'a Group) -> Option<Self> {
        let mut dims = group.group("ImageData.Dimensions")?.counts()?;
        while dims.len() > 2 && dims.last() == Some(&1) {
            dims.pop();
        }
        let super::tags::Tag::Array(pixels) = group.find("ImageData.Data")? else {
            return None;
        };
        Some(Self {
            index: name.parse().ok()?,
            group,
            dims,
            pixels: *pixels,
        })
    }

    /// The image of a file that holds the frames, or the one of the name or number that is wanted.
    ///
    /// # Errors
    ///
    /// There is none, or none of the name; with a list of those there are.
    pub(super) fn choose(path: &Path, tags: &'a TagTree, wanted: Option<&str>) -> Result<Self> {
        let images: Vec<Self> = tags
            .root
            .group("ImageList")
            .into_iter()
            .flat_map(Group::groups)
            .filter_map(|(name, group)| Self::of(name, group))
            .collect();
        let describe = |image: &Self| {
            let lens: Vec<String> = image.dims.iter().rev().map(u64::to_string).collect();
            let name = image.group.text("Name").unwrap_or("without a name");
            format!("{} ({name}, {})", image.index, lens.join(" x "))
        };
        let candidates: Vec<String> = images.iter().map(describe).collect();
        let fail = |problem: String| Error::Dataset {
            path: path.to_owned(),
            problem,
            candidates: candidates.clone(),
        };
        if let Some(wanted) = wanted {
            let named = |image: &Self| {
                image.index.to_string() == wanted || image.group.text("Name") == Some(wanted)
            };
            let found = images.into_iter().find(named);
            return found.ok_or_else(|| fail(format!("there is no image {wanted}")));
        }
        let root = &tags.root;
        let thumbnails: Vec<u64> = root
            .group("Thumbnails")
            .into_iter()
            .flat_map(Group::groups)
            .filter_map(|(_, thumbnail)| thumbnail.count("ImageIndex"))
            .collect();
        let shown = shown(root);
        let rank = |image: &Self| {
            (
                !thumbnails.contains(&image.index),
                shown.contains(&image.index),
                image.dims.len(),
                image.pixels.n_bytes(),
            )
        };
        let best = images.into_iter().max_by_key(rank);
        best.ok_or_else(|| fail("it holds no image".to_owned()))
    }

    /// Calibration of an axis, 0 the fastest, where one is stated.
    pub(super) fn calibration(&self, axis: usize) -> Option<Calibration> {
        let group = self
            .group
            .group(&format!("ImageData.Calibrations.Dimension.{axis}"))?;
        let calibration = Calibration {
            scale: group.number("Scale")?,
            units: group.text("Units")?.trim().to_owned(),
        };
        let is_stated = calibration.scale.is_finite() && calibration.scale > 0.0;
        is_stated.then_some(calibration)
    }

    /// Tags that the programs that made the image left.
    pub(super) fn tags(&self) -> Option<&'a Group> {
        self.group.group("ImageTags")
    }
}

/// Numbers of the images that the documents show.
fn shown(root: &Group) -> Vec<u64> {
    let sources: Vec<u64> = root
        .group("DocumentObjectList")
        .into_iter()
        .flat_map(Group::groups)
        .filter_map(|(_, object)| object.count("ImageSource"))
        .collect();
    let Some(list) = root.group("ImageSourceList") else {
        return Vec::new();
    };
    list.groups()
        .enumerate()
        .filter(|(number, (_, source))| {
            // A source has an Id of its own, which documents give; older files have none and count.
            let id = source.count("Id.0").unwrap_or(*number as u64);
            sources.is_empty() || sources.contains(&id)
        })
        .filter_map(|(_, (_, source))| source.count("ImageRef"))
        .collect()
}

impl Calibration {
    /// Nanometers a step, where the axis is a length.
    pub(super) fn step_nm(&self) -> Option<f64> {
        let factor = match self.units.as_str() {
            "pm" => 1e-3,
            "A" | "Å" => 0.1,
            "nm" => 1.0,
            "µm" | "um" | "μm" => 1e3,
            "mm" => 1e6,
            _ => return None,
        };
        Some(self.scale * factor)
    }

    /// Spatial frequency a step, per nanometer; angles need the wavelength.
    pub(super) fn q_step_per_nm(&self, wavelength_nm: Option<f64>) -> Option<f64> {
        let factor = match self.units.as_str() {
            "1/nm" | "nm^-1" | "nm-1" | "1/ nm" => 1.0,
            "1/A" | "1/Å" | "A^-1" => 10.0,
            "1/pm" => 1e3,
            "1/µm" | "1/um" | "1/μm" => 1e-3,
            // Small angles: q = angle / wavelength.
            "mrad" => 1e-3 / wavelength_nm?,
            "µrad" | "urad" | "μrad" => 1e-6 / wavelength_nm?,
            "rad" => 1.0 / wavelength_nm?,
            _ => return None,
        };
        Some(self.scale * factor)
    }

    /// Whether the axis is one of a diffraction pattern.
    pub(super) fn is_reciprocal(&self) -> bool {
        self.q_step_per_nm(Some(1.0)).is_some()
    }

    /// Seconds a step, where the axis is time.
    pub(super) fn step_s(&self) -> Option<f64> {
        let factor = match self.units.as_str() {
            "s" | "sec" => 1.0,
            "ms" => 1e-3,
            "µs" | "us" | "μs" => 1e-6,
            "min" => 60.0,
            _ => return None,
        };
        Some(self.scale * factor)
    }

    /// Whether the axis is the energy axis of spectra.
    pub(super) fn is_energy(&self) -> bool {
        matches!(self.units.as_str(), "eV" | "keV" | "ev" | "kev")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn calibration(scale: f64, units: &str) -> Calibration {
        Calibration {
            scale,
            units: units.to_owned(),
        }
    }

    #[test]
    fn units_become_those_of_the_program() {
        assert_eq!(calibration(2.0, "A").step_nm(), Some(0.2));
        assert_eq!(calibration(0.5, "µm").step_nm(), Some(500.0));
        assert_eq!(calibration(0.5, "1/nm").step_nm(), None);
        assert_eq!(calibration(0.02, "1/A").q_step_per_nm(None), Some(0.2));
        // 2.5 pm: 1 mrad is 0.4 per nm.
        let q = calibration(1.0, "mrad")
            .q_step_per_nm(Some(2.5e-3))
            .unwrap();
        assert!((q - 0.4).abs() < 1e-12);
        assert_eq!(calibration(1.0, "mrad").q_step_per_nm(None), None);
        assert_eq!(calibration(20.0, "ms").step_s(), Some(0.02));
        assert!(calibration(1.0, "eV").is_energy());
    }
}
