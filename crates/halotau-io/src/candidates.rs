//! Which of the datasets of a file holds the frames?

use std::path::Path;

use halotau::series::SampleType;

use crate::error::{Error, Result};

/// A dataset that a file holds.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Path inside the file, without the first slash.
    pub(crate) name: String,
    /// Lengths of its axes.
    pub(crate) dims: Vec<u64>,
    /// Number type, where it is one of those that are read.
    pub(crate) sample_type: Option<SampleType>,
    /// The type as the file says it.
    pub(crate) type_name: String,
}

impl Candidate {
    fn n_elements(&self) -> u128 {
        self.dims
            .iter()
            .fold(1, |n: u128, &len| n.saturating_mul(u128::from(len)))
    }

    fn n_bytes(&self) -> u128 {
        let sample = self.sample_type.map_or(0, |t| t.n_bytes() as u128);
        self.n_elements().saturating_mul(sample)
    }

    fn say(&self) -> String {
        format!("{} {:?} {}", self.name, self.dims, self.type_name)
    }
}

/// The dataset that a person named, or the one that can only be meant: the only one that could hold frames,
/// else the only one called `data`, else the one that is larger than all others.
///
/// # Errors
///
/// [`Error::Dataset`] with all datasets in question.
pub(crate) fn choose<'a>(
    path: &Path,
    candidates: &'a [Candidate],
    wanted: Option<&str>,
) -> Result<&'a Candidate> {
    let fail = |problem: String, mut of: Vec<&Candidate>| {
        // What could best be frames comes first: the list may be cut.
        of.sort_by_key(|c| std::cmp::Reverse((c.dims.len(), c.n_elements())));
        Err(Error::Dataset {
            path: path.to_owned(),
            problem,
            candidates: of.into_iter().map(Candidate::say).collect(),
        })
    };
    if let Some(wanted) = wanted {
        let wanted = wanted.trim_matches('/');
        return match candidates
            .iter()
            .find(|c| c.name.trim_matches('/') == wanted)
        {
            Some(candidate) => Ok(candidate),
            None => fail(
                format!("there is no dataset {wanted}"),
                candidates.iter().collect(),
            ),
        };
    }
    // A single frame is meant only where there is no series.
    let of_axes = |n_axes: std::ops::RangeInclusive<usize>| -> Vec<&Candidate> {
        let fits = candidates.iter().filter(|c| n_axes.contains(&c.dims.len()));
        fits.collect()
    };
    let with_axes = match of_axes(3..=5) {
        found if found.is_empty() => of_axes(2..=2),
        found => found,
    };
    let with_frames: Vec<&Candidate> = with_axes
        .iter()
        .filter(|c| c.sample_type.is_some())
        .copied()
        .collect();
    let only = |of: Vec<&'a Candidate>| match of[..] {
        [one] => Some(one),
        _ => None,
    };
    let called_data = with_frames
        .iter()
        .filter(|c| c.name.rsplit('/').next() == Some("data"))
        .copied()
        .collect();
    let most = with_frames.iter().map(|c| c.n_bytes()).max();
    let largest = with_frames
        .iter()
        .filter(|c| Some(c.n_bytes()) == most)
        .copied()
        .collect();
    let found = only(with_frames.clone())
        .or_else(|| only(called_data))
        .or_else(|| only(largest));
    match found {
        Some(candidate) => Ok(candidate),
        // A type that is not read is a better reason than that there is nothing.
        None if with_frames.is_empty() && with_axes.len() == 1 => Ok(with_axes[0]),
        None if with_frames.is_empty() => fail(
            "no dataset could hold frames, which have 2 to 5 axes of numbers".to_owned(),
            candidates.iter().collect(),
        ),
        None => fail(
            "several datasets could be the frames; name one as data.dataset".to_owned(),
            with_frames,
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn candidate(name: &str, dims: &[u64]) -> Candidate {
        Candidate {
            name: name.to_owned(),
            dims: dims.to_vec(),
            sample_type: Some(SampleType::U16),
            type_name: "u16".to_owned(),
        }
    }

    #[test]
    fn the_frames_are_found_or_the_choice_is_left_to_the_person() {
        let path = Path::new("file.h5");
        let name = |of: &[Candidate], wanted| choose(path, of, wanted).map(|c| c.name.clone()).ok();
        let image = candidate("mask", &[66, 66]);
        let small = candidate("a/data", &[2, 3, 4]);
        let large = candidate("b/stack", &[20, 3, 4]);
        let other = candidate("c/data", &[2, 3, 4]);
        let found = |s: &str| Some(s.to_owned());
        assert_eq!(
            name(&[image.clone(), large.clone()], None),
            found("b/stack")
        );
        assert_eq!(name(&[small.clone(), large.clone()], None), found("a/data"));
        assert_eq!(
            name(&[small.clone(), large.clone(), other.clone()], None),
            found("b/stack")
        );
        assert_eq!(name(&[small.clone(), other.clone()], None), None);
        assert_eq!(name(&[small, other], Some("/c/data")), found("c/data"));
        assert_eq!(name(std::slice::from_ref(&image), None), found("mask"));
        let error = choose(path, &[image, large], Some("d"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("b/stack [20, 3, 4] u16, mask [66, 66] u16"),
            "{error}"
        );
    }
}
