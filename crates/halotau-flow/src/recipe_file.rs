//! How does a recipe file become a [`Recipe`]?
//!
//! Defaults of the profile, then the keys of the file, then overrides (`-s key=value`): the later wins. Unknown keys are
//! refused with the nearest known one, and every problem points at its line. Relative paths count from the file's folder and
//! are absolute in the loaded recipe, so that a recipe written beside the results ([`to_toml`]) loads back to the same value
//! from anywhere.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use halotau::recipe::{DataBlock, Profile, Recipe};
use halotau::series::Warning;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::error::{Error, RecipeProblem, Result};

mod check;
mod nearest;
mod write;

pub use write::{Unfilled, commented_toml, to_toml};

/// A recipe, and the texts it came from, so that errors can point into them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Complete, checked, with absolute paths.
    pub recipe: Recipe,
    /// Folder that relative paths counted from.
    pub folder: PathBuf,
    /// What a person should know of the settings.
    pub warnings: Vec<Warning>,
    texts: Vec<SourceText>,
}

/// A text with settings: the file, or one override.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SourceText {
    name: String,
    text: String,
    /// Prepended to the keys of the text; `data[1].` for an override of a data block.
    prefix: String,
}

/// Loads a recipe file, or the `recipe.toml` of a result folder, with overrides such as `pattern.bin=2`.
///
/// # Errors
///
/// [`Error::Read`]; [`Error::Recipe`] for all that is wrong inside, at its place.
pub fn load(path: &Path, overrides: &[String]) -> Result<Loaded> {
    let path = path_of(path);
    let path = path.as_path();
    let is_no_recipe = |what: &str| {
        let text = format!("{what}; a recipe is TOML (`halotau init DATA` writes one)");
        Error::content(path, text)
    };
    if path.is_dir() {
        return Err(is_no_recipe("a folder without a recipe.toml"));
    }
    let bytes = fs::read(path).map_err(|source| Error::read(path, source))?;
    let text = String::from_utf8(bytes).map_err(|_| is_no_recipe("not a text file"))?;
    let path = std::path::absolute(path).map_err(|source| Error::read(path, source))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    parse(&text, &path.display().to_string(), folder, overrides)
}

/// The recipe that a path means: itself, or the one in a result folder.
pub fn path_of(path: &Path) -> PathBuf {
    let inside = path.join("recipe.toml");
    if inside.is_file() {
        inside
    } else {
        path.to_owned()
    }
}

/// Reads a recipe from a text; `name` is what problems call it, `folder` what relative paths count from.
///
/// # Errors
///
/// [`Error::Recipe`].
pub fn parse(text: &str, name: &str, folder: &Path, overrides: &[String]) -> Result<Loaded> {
    let file = SourceText {
        name: name.to_owned(),
        text: text.to_owned(),
        prefix: String::new(),
    };
    // Read as a recipe only for its errors, which know their places; defaults come from the profile below.
    file.read::<Recipe>()?;
    let mut table: Table = file.read()?;
    let mut texts = vec![file];
    // A profile that is asked for on the command line means its choices, also where the file writes out others.
    let asked = |given: &String| {
        given
            .split_once('=')
            .is_some_and(|(key, _)| key.trim() == "profile")
    };
    if overrides.iter().any(asked) {
        forget_choices(&mut table)?;
    }
    for given in overrides {
        texts.push(override_with::<Recipe>(&mut table, given)?);
    }
    let profile = match table.get("profile") {
        Some(value) => value.clone().try_into().map_err(whole)?,
        None => Profile::default(),
    };
    let mut complete = Table::try_from(Recipe::of(profile)).map_err(whole)?;
    for (section, given) in table {
        match (complete.get_mut(&section), given) {
            (Some(Value::Table(defaults)), Value::Table(given)) => defaults.extend(given),
            (_, given) => {
                complete.insert(section, given);
            }
        }
    }
    let mut recipe: Recipe = complete.try_into().map_err(whole)?;
    make_absolute(&mut recipe, folder);
    let loaded = Loaded {
        warnings: check::warnings(&recipe),
        recipe,
        folder: folder.to_owned(),
        texts,
    };
    check::check(&loaded.recipe).map_err(|error| loaded.locate(error.into()))?;
    Ok(loaded)
}

/// Removes the keys in which the profiles differ.
fn forget_choices(table: &mut Table) -> Result<()> {
    let choices = |profile| Table::try_from(Recipe::of(profile)).map_err(whole);
    let (paper, recommended) = (choices(Profile::Paper)?, choices(Profile::Recommended)?);
    for (section, value) in &paper {
        let (Some(a), Some(b)) = (value.as_table(), recommended[section].as_table()) else {
            continue;
        };
        if let Some(given) = table.get_mut(section).and_then(Value::as_table_mut) {
            given.retain(|key, _| a.get(key) == b.get(key));
        }
    }
    Ok(())
}

/// Reads other settings with the same rules: unknown keys are refused with the nearest, overrides win.
pub(crate) fn override_settings<T: DeserializeOwned>(
    text: &str,
    name: &str,
    overrides: &[String],
) -> Result<T> {
    let file = SourceText {
        name: name.to_owned(),
        text: text.to_owned(),
        prefix: String::new(),
    };
    file.read::<T>()?;
    let mut table: Table = file.read()?;
    for given in overrides {
        override_with::<T>(&mut table, given)?;
    }
    table.try_into().map_err(whole)
}

impl Loaded {
    /// A recipe that was made in memory; relative paths count from `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] for values that make no sense.
    pub fn of(mut recipe: Recipe, folder: &Path) -> Result<Self> {
        make_absolute(&mut recipe, folder);
        check::check(&recipe)?;
        Ok(Self {
            warnings: check::warnings(&recipe),
            recipe,
            folder: folder.to_owned(),
            texts: Vec::new(),
        })
    }

    /// Checks that there is something to work on.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] where no `[[data]]` block is given.
    pub fn require_data(&self) -> Result<&[DataBlock]> {
        if self.recipe.data.is_empty() {
            return Err(Error::Recipe(Box::new(RecipeProblem {
                code: "E0104",
                message: "the recipe names no data".to_owned(),
                name: self.texts.first().map_or_else(String::new, |text| text.name.clone()),
                text: String::new(),
                span: None,
                label: String::new(),
                help: Some(
                    "add one block a temperature: [[data]] with path = \"...\" and temperature_k = ...; `halotau init DATA...` writes them"
                        .to_owned(),
                ),
            })));
        }
        Ok(&self.recipe.data)
    }

    /// Adds to an error of the core the place in the recipe that led to it, where there is one.
    pub fn locate(&self, error: Error) -> Error {
        let Error::Core(core) = error else {
            return error;
        };
        let key = match &core {
            halotau::Error::Setting { key, .. } => key.clone(),
            halotau::Error::RingOutside {
                q_min_per_nm,
                q_max_per_nm,
                ..
            }
            | halotau::Error::EmptyRing {
                q_min_per_nm,
                q_max_per_nm,
                ..
            } => self.key_of_range(*q_min_per_nm, *q_max_per_nm),
            halotau::Error::CenterNotFound { .. } => "pattern".to_owned(),
            _ => return Error::Core(core),
        };
        let Some((text, span)) = self.find(&key) else {
            return Error::Core(core);
        };
        let label = match &core {
            halotau::Error::Setting { problem, .. } => problem.clone(),
            halotau::Error::RingOutside {
                what,
                available_max_per_nm,
                ..
            } => format!("{what} ends at {available_max_per_nm:.3} 1/nm"),
            _ => "asked for here".to_owned(),
        };
        Error::CoreAt {
            place: Box::new(RecipeProblem {
                code: "E0103",
                message: core.to_string(),
                name: text.name.clone(),
                text: text.text.clone(),
                span: Some(span),
                label,
                help: None,
            }),
            source: core,
        }
    }

    /// The key whose range has one of these edges: the annulus is the union of several.
    fn key_of_range(&self, min_per_nm: f64, max_per_nm: f64) -> String {
        let recipe = &self.recipe;
        let dynamics = recipe.dynamics.q_range_per_nm;
        let structure = recipe.structure.q_range_per_nm;
        let has_edge = |range: halotau::axes::QRange| {
            range.max_per_nm == max_per_nm || range.min_per_nm == min_per_nm
        };
        let ranges = [
            ("dynamics.q_range_per_nm", Some(dynamics)),
            ("structure.q_range_per_nm", Some(structure)),
            ("reduction.q_range_per_nm", recipe.reduction.q_range_per_nm),
        ];
        let found = ranges
            .iter()
            .find(|(key, range)| range.is_some_and(has_edge) && self.find(key).is_some());
        found.map_or_else(
            || "pattern.q_step_per_nm".to_owned(),
            |(key, _)| (*key).to_owned(),
        )
    }

    /// The last text that sets a key, and the bytes of the value.
    fn find(&self, key: &str) -> Option<(&SourceText, Range<usize>)> {
        let texts = self.texts.iter().rev();
        let found = texts
            .filter_map(|text| Some((text, text.span_of(key)?)))
            .next();
        // A key that is not there is best added to its section.
        found.or_else(|| self.find(key.rsplit_once('.')?.0))
    }
}

impl SourceText {
    fn read<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| self.problem(&error).into())
    }

    fn span_of(&self, key: &str) -> Option<Range<usize>> {
        let key = key
            .strip_prefix(&self.prefix)?
            .replace('[', ".")
            .replace(']', "");
        let document = DeTable::parse(&self.text).ok()?;
        let mut parts = key.split('.');
        let mut value = document.get_ref().get(parts.next()?)?;
        for part in parts {
            value = match value.get_ref() {
                DeValue::Table(table) => table.get(part)?,
                DeValue::Array(array) => array.get(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value.span())
    }

    fn problem(&self, error: &toml::de::Error) -> Box<RecipeProblem> {
        let (code, message, help) = explain(error.message());
        let span = error
            .span()
            .filter(|span| self.text.get(span.clone()).is_some());
        Box::new(RecipeProblem {
            code,
            label: message.clone(),
            message,
            name: self.name.clone(),
            text: self.text.clone(),
            span,
            help,
        })
    }
}

/// A problem of the merged recipe, which has no single place.
fn whole(error: impl std::fmt::Display) -> Error {
    let (code, message, help) = explain(error.to_string().trim());
    Error::Recipe(Box::new(RecipeProblem {
        code,
        message,
        name: "recipe".to_owned(),
        text: String::new(),
        span: None,
        label: String::new(),
        help,
    }))
}

/// Turns serde's words into ours: (code, message, help).
fn explain(message: &str) -> (&'static str, String, Option<String>) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    for (start, code, what) in [
        ("unknown field", "E0101", "key"),
        ("unknown variant", "E0102", "choice"),
    ] {
        if let (true, [given, known @ ..]) = (message.starts_with(start), quoted.as_slice()) {
            let help = match nearest::nearest(given, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            return (code, format!("unknown {what} `{given}`"), Some(help));
        }
    }
    if let (true, [key, ..]) = (message.starts_with("missing field"), quoted.as_slice()) {
        return ("E0104", format!("the key `{key}` is missing here"), None);
    }
    if message.starts_with("invalid type") || message.starts_with("invalid length") {
        return ("E0102", message.to_owned(), None);
    }
    ("E0105", message.to_owned(), None)
}

/// Sets one `key=value` in the table. The value is TOML; a bare word is a string.
fn override_with<T: DeserializeOwned>(table: &mut Table, given: &str) -> Result<SourceText> {
    let malformed = |problem: &str| Error::usage(format!("-s {given}"), problem);
    let Some((key, value)) = given.split_once('=') else {
        return Err(malformed("write it as key=value, such as pattern.bin=2"));
    };
    let (key, value) = (key.trim(), value.trim());
    let (prefix, key) = match data_block(key) {
        Some((idx, rest)) => (format!("data[{idx}]."), rest),
        None => (String::new(), key),
    };
    let is_toml = toml::from_str::<Table>(&format!("value = {value}")).is_ok();
    let value = if is_toml {
        value.to_owned()
    } else {
        Value::from(value).to_string()
    };
    let source = SourceText {
        name: format!("-s {given}"),
        text: format!("{key} = {value}"),
        prefix,
    };
    let target = match data_block(given) {
        None => {
            source.read_part::<T>()?;
            table
        }
        Some((idx, _)) => {
            source.read_part::<DataBlock>()?;
            let blocks = table.get_mut("data").and_then(Value::as_array_mut);
            blocks
                .and_then(|blocks| blocks.get_mut(idx)?.as_table_mut())
                .ok_or_else(|| {
                    malformed("the recipe has no such [[data]] block; they count from 0")
                })?
        }
    };
    merge(target, source.read()?);
    Ok(source)
}

impl SourceText {
    /// As `read`, but a part of a block may be missing: the file has it.
    fn read_part<T: DeserializeOwned>(&self) -> Result<()> {
        match self.read::<T>() {
            Err(Error::Recipe(problem)) if problem.code == "E0104" => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

/// `data[1].path` and `data.1.path` as (1, "path").
fn data_block(key: &str) -> Option<(usize, &str)> {
    let rest = key.strip_prefix("data")?;
    let (idx, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("].")?,
        None => rest.strip_prefix('.')?.split_once('.')?,
    };
    Some((idx.parse().ok()?, rest))
}

/// Puts the leaves of `given` into `table`, leaving their neighbors.
pub(crate) fn merge(table: &mut Table, given: Table) {
    for (key, value) in given {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if !is_choice(&new) => merge(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Whether a table is one of several alternatives, which replaces the other instead of joining it.
fn is_choice(table: &Table) -> bool {
    table.contains_key("fixed") || table.contains_key("free")
}

fn make_absolute(recipe: &mut Recipe, folder: &Path) {
    let resolve = |path: &mut PathBuf| {
        if !path.as_os_str().is_empty() {
            let joined = folder.join(&path);
            *path = std::path::absolute(&joined).unwrap_or(joined);
        }
    };
    resolve(&mut recipe.output.folder);
    let pattern = &mut recipe.pattern;
    let files = [
        &mut pattern.mask_file,
        &mut pattern.dark_file,
        &mut pattern.gain_file,
    ];
    files.into_iter().flatten().for_each(resolve);
    recipe.scan.mask_file.iter_mut().for_each(resolve);
    for block in &mut recipe.data {
        resolve(&mut block.path);
        block.files.iter_mut().for_each(resolve);
        block.calibration.iter_mut().for_each(resolve);
    }
}
