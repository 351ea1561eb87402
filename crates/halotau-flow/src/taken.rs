//! What is kept of an analysis for the next one, and when does it count?
//!
//! Going over the counts takes most of an analysis. What was taken from them, before any fit, stays in the folder of results
//! ([`halotau_io::taken`]), each part under the hash of all it depends on:
//!
//! ```text
//! conditions    the reduction (its list of files with their hashes), drift, time, scan with the content of its mask, microscope, dwell
//! curves        conditions, and the rings, normalization, sectors and variance of the recipe
//! likelihoods   curves, and the bounds of tau
//! matrices      curves; so for the pictures
//! all           halotau's version, that of its methods, and the vector instructions, which make the last digits
//! ```
//!
//! A part whose hash is the same is used, any other is made again; one that is damaged or half written as well. So another convention of tau,
//! stretch, window of lags, weights or level reads no counts, and the answer is the same bits as without. Only what the last analysis used is
//! kept; the folder may be removed at any time.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use halotau::conditions::{self, Measured};
use halotau::map::curves::{self, Matrices, Taken};
use halotau::recipe::Recipe;
use halotau_io::taken as io;

use crate::analyze;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::reduce::Reduced;

/// Name of the folder inside a result folder.
pub const TAKEN: &str = "taken";

/// How the names of parts begin that belong to the analysis of all temperatures alike.
const ALIKE: &str = "alike-";

/// The parts of one temperature.
#[derive(Debug)]
pub struct Kept {
    place: Option<Place>,
    dim: (usize, usize),
    /// How the names of its parts begin.
    of: &'static str,
    /// Names that this analysis used or wrote.
    used: Mutex<BTreeSet<String>>,
}

#[derive(Debug)]
struct Place {
    folder: PathBuf,
    conditions: String,
}

/// Keys of the parts of one analysis.
#[derive(Debug)]
struct Keys {
    curves: String,
    likelihoods: String,
}

impl Kept {
    /// The parts beside the reduction of a result folder; none where its counts are not kept.
    pub fn of(folder: &Path, reduced: &Reduced, recipe: &Recipe) -> Self {
        let place = reduced.identity.as_ref().map(|identity| {
            let mask = recipe.scan.mask_file.as_ref();
            // A mask that cannot be read is an error of the conditions, which then are made anew.
            let mask = mask.map(|file| fs::read(file).unwrap_or_default());
            let above = [
                env!("CARGO_PKG_VERSION").to_owned(),
                curves::METHOD.to_string(),
                curves::instructions(),
                identity.clone(),
                mask.map_or_else(String::new, |mask| blake3::hash(&mask).to_hex().to_string()),
            ];
            Place {
                folder: folder.join(TAKEN),
                conditions: key(&above, &conditions::settings(recipe)),
            }
        });
        Self {
            place,
            dim: (reduced.reduction.n_rows(), reduced.reduction.n_cols()),
            of: "",
            used: Mutex::default(),
        }
    }

    /// The parts of the analysis in which all temperatures are alike: of less than all counts, as `share` and the seed say.
    pub(crate) fn alike(self, share: &[u64], seed: u64) -> Self {
        let place = self.place.map(|place| Place {
            conditions: key(
                &[place.conditions, format!("{share:?} {seed}")],
                &Recipe::default(),
            ),
            ..place
        });
        Self {
            place,
            of: ALIKE,
            used: Mutex::default(),
            ..self
        }
    }

    /// The conditions of a reduction, as they were kept or measured now.
    ///
    /// # Errors
    ///
    /// As [`analyze::measure`].
    pub fn measure(
        &self,
        reduced: &Reduced,
        recipe: &Recipe,
        pictures: Option<&Path>,
        context: &Context<'_>,
    ) -> Result<Measured> {
        let key = self.place.as_ref().map(|place| place.conditions.as_str());
        let found = self.read("conditions", key, context, io::read_conditions);
        if let Some(measured) = found {
            return Ok(measured);
        }
        let measured = analyze::measure(reduced, recipe, pictures, context)?;
        self.write("conditions", key, context, |path, key| {
            io::write_conditions(path, key, &measured)
        });
        Ok(measured)
    }

    /// What an analysis with these choices starts from.
    pub(crate) fn taken(&self, recipe: &Recipe, context: &Context<'_>) -> Taken {
        let Some(keys) = self.keys(recipe) else {
            return Taken::default();
        };
        let (of_curves, of_likelihoods) = (Some(&*keys.curves), Some(&*keys.likelihoods));
        let mut taken = Taken::default();
        if curves::can_start_from_curves(recipe) {
            taken.curves = self.read("curves", of_curves, context, io::read_curves);
        }
        if recipe.uses_likelihood() {
            let read = io::read_likelihoods;
            taken.likelihoods = self.read("likelihoods", of_likelihoods, context, read);
        }
        taken.matrices = self.read("matrices", of_curves, context, io::read_matrices);
        taken
    }

    /// Keeps what an analysis took beside what it started from; `before` are the matrices that were there.
    pub(crate) fn keep(
        &self,
        recipe: &Recipe,
        taken: &Taken,
        before: Option<&Matrices>,
        context: &Context<'_>,
    ) {
        let Some(keys) = self.keys(recipe) else {
            return;
        };
        if let Some(curves) = &taken.curves {
            self.write_new("curves", &keys.curves, context, |path, key| {
                io::write_curves(path, key, self.dim, curves)
            });
        }
        if let Some(likelihoods) = &taken.likelihoods {
            self.write_new("likelihoods", &keys.likelihoods, context, |path, key| {
                io::write_likelihoods(path, key, likelihoods)
            });
        }
        // Which positions are shown depends on the fits.
        let matrices = taken.matrices.as_ref();
        if let Some(matrices) = matrices.filter(|matrices| before != Some(*matrices)) {
            let key = Some(&*keys.curves);
            self.write("matrices", key, context, |path, key| {
                io::write_matrices(path, key, matrices)
            });
        }
    }

    /// What the figures of an analysis need of the counts, as it was kept.
    pub(crate) fn pictures(&self, recipe: &Recipe, context: &Context<'_>) -> Option<io::Pictures> {
        let keys = self.keys(recipe)?;
        self.read("pictures", Some(&*keys.curves), context, io::read_pictures)
    }

    /// Keeps what the figures of an analysis need of the counts.
    pub(crate) fn keep_pictures(
        &self,
        recipe: &Recipe,
        pictures: &io::Pictures,
        context: &Context<'_>,
    ) {
        let key = self.keys(recipe).map(|keys| keys.curves);
        self.write("pictures", key.as_deref(), context, |path, key| {
            io::write_pictures(path, key, pictures)
        });
    }

    /// Removes the parts that were not used since this began.
    pub fn sweep(&self) {
        let Some(place) = &self.place else {
            return;
        };
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        io::sweep(&place.folder, &|name| {
            let is_own = match self.of {
                "" => !name.starts_with(ALIKE),
                of => name.starts_with(of),
            };
            !is_own || used.contains(name)
        });
    }

    /// Forgets all that was kept in a result folder.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn discard(folder: &Path) -> Result<()> {
        let folder = folder.join(TAKEN);
        match fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::write(&folder, source))
            }
            _ => Ok(()),
        }
    }

    fn keys(&self, recipe: &Recipe) -> Option<Keys> {
        let above = std::slice::from_ref(&self.place.as_ref()?.conditions);
        Some(Keys {
            curves: key(above, &curves::curve_settings(recipe)),
            likelihoods: key(above, &curves::likelihood_settings(recipe)),
        })
    }

    /// A part; none where it is not there or not what it should be.
    fn read<T>(
        &self,
        part: &str,
        key: Option<&str>,
        context: &Context<'_>,
        read: impl FnOnce(&Path, &str) -> halotau_io::Result<T>,
    ) -> Option<T> {
        let (path, name) = self.path(part, key?)?;
        if !path.is_dir() {
            return None;
        }
        match read(&path, key?) {
            Ok(found) => {
                self.note_used(name);
                Some(found)
            }
            Err(error) => {
                context.note(format!(
                    "{part} of the analysis before are made again: {error}"
                ));
                // So that it is written whole.
                let _ = fs::remove_dir_all(&path);
                None
            }
        }
    }

    /// Writes a part that is not there.
    fn write_new(
        &self,
        part: &str,
        key: &str,
        context: &Context<'_>,
        write: impl FnOnce(&Path, &str) -> halotau_io::Result<()>,
    ) {
        let Some((path, name)) = self.path(part, key) else {
            return;
        };
        if path.is_dir() {
            self.note_used(name);
        } else {
            self.write(part, Some(key), context, write);
        }
    }

    /// Writes a part; where that fails the results are no worse, and the next analysis takes longer.
    fn write(
        &self,
        part: &str,
        key: Option<&str>,
        context: &Context<'_>,
        write: impl FnOnce(&Path, &str) -> halotau_io::Result<()>,
    ) {
        let Some(((path, name), key)) = key.and_then(|key| Some((self.path(part, key)?, key)))
        else {
            return;
        };
        match write(&path, key) {
            Ok(()) => self.note_used(name),
            Err(error) => context.note(format!("the {part} are not kept: {error}")),
        }
    }

    fn path(&self, part: &str, key: &str) -> Option<(PathBuf, String)> {
        // The whole key is inside; 64 bits tell names apart.
        let name = format!("{}{part}-{}.zarr", self.of, key.get(..16)?);
        Some((self.place.as_ref()?.folder.join(&name), name))
    }

    fn note_used(&self, name: String) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(name);
    }
}

/// Hash of what a part comes from and of the settings that enter.
fn key(above: &[String], settings: &Recipe) -> String {
    let mut hasher = blake3::Hasher::new();
    for one in above {
        hasher.update(&(one.len() as u64).to_le_bytes());
        hasher.update(one.as_bytes());
    }
    // Every number of a recipe is finite, and every path is text or was taken out.
    let settings = serde_json::to_vec(settings).unwrap_or_default();
    hasher.update(&settings);
    hasher.finalize().to_hex().to_string()
}
