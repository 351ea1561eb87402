//! What went wrong, for the person who can cure it.
//!
//! Each error has an exit code (what a script needs), a stable code (what a search engine needs), a sentence, and where
//! possible the place in the recipe and what to do next. `docs/errors.md` has the table.

use std::error::Error as StdError;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with a recipe, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RecipeProblem {
    /// Stable code, `E01..`.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// Where the text came from: the recipe's path, or `-s` for an override.
    pub name: String,
    /// The whole text that holds the problem.
    pub text: String,
    /// Bytes of the text at which to point.
    pub span: Option<Range<usize>>,
    /// What to say at that place.
    pub label: String,
    /// How to cure it.
    pub help: Option<String>,
}

impl RecipeProblem {
    /// Line and column of the problem, both from 1.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let before = self.text.get(..self.span.as_ref()?.start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next()?.chars().count() + 1;
        Some((line, column))
    }
}

/// An error of the workflow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data or the settings make no sense together.
    #[error(transparent)]
    Core(#[from] halotau::Error),
    /// A file, a folder or a store.
    #[error(transparent)]
    Io(halotau_io::Error),
    /// A figure cannot be drawn.
    #[error(transparent)]
    Figure(#[from] halotau_figure::Error),
    /// Something is wrong in the recipe.
    #[error(transparent)]
    Recipe(#[from] Box<RecipeProblem>),
    /// As [`Error::Core`], with the place in the recipe that led to it.
    #[error("{source}")]
    CoreAt {
        /// What is wrong.
        source: halotau::Error,
        /// Where it was asked for.
        place: Box<RecipeProblem>,
    },
    /// An argument of the command or of a function.
    #[error("{argument}: {problem}")]
    Usage {
        /// Its name as the user wrote it.
        argument: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A file or folder of the user could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
    /// An output could not be created.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An output could not be written to its end.
    #[error("{} while writing {}", write_reason(source), path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What is complete and valid, in words.
        kept: Option<String>,
    },
    /// A folder of results that holds none.
    #[error("{} and the folders in it hold no {holding}", folder.display())]
    NoResult {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        holding: String,
    },
    /// The output exists and is not to be overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// Another run works on the same output.
    #[error("{} is locked by another run ({holder})", path.display())]
    Locked {
        /// The output.
        path: PathBuf,
        /// Who holds it, in words.
        holder: String,
    },
    /// The folder holds work that was done with other parameters.
    #[error("{} was made with other parameters: {}", path.display(), differences.join(", "))]
    ParametersDiffer {
        /// The output.
        path: PathBuf,
        /// Such as `pattern.bin: 2 -> 4`.
        differences: Vec<String>,
    },
    /// The memory limit is too small for any plan.
    #[error(
        "the memory limit of {} is too small: {what} needs {}",
        crate::memory::size_text(*limit_bytes),
        crate::memory::enough_text(*needed_bytes)
    )]
    Memory {
        /// Which step.
        what: String,
        /// The limit.
        limit_bytes: u64,
        /// The smallest budget with which it works.
        needed_bytes: u64,
    },
    /// The system refuses threads.
    #[error("cannot start {n_threads} threads: {source}")]
    Threads {
        /// How many were asked for.
        n_threads: usize,
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A measurement of speed gave a wrong answer.
    #[error(
        "{part} was fast and wrong on this machine: its answer is not the one that the equation gives"
    )]
    Bench {
        /// What was measured.
        part: &'static str,
    },
    /// Nothing could be measured of the microscope.
    #[error(
        "{name} cannot be calibrated: {problem}{}",
        .picture.as_ref().map_or_else(String::new, |picture| format!(" (see {})", picture.display()))
    )]
    Uncalibratable {
        /// The series.
        name: String,
        /// Why not.
        problem: String,
        /// A picture that shows it.
        picture: Option<PathBuf>,
    },
    /// The sample left the field.
    #[error(
        "{name}: {source}{}",
        .picture.as_ref().map_or_else(String::new, |picture| format!(" (see {})", picture.display()))
    )]
    MovedAway {
        /// The series.
        name: String,
        /// By how much.
        source: Box<halotau::Error>,
        /// A picture that shows it.
        picture: Option<PathBuf>,
    },
    /// More positions are BAD than allowed; all results are written.
    #[error(
        "{n_bad} of {n_positions} positions of {name} have no usable result ({flags}), more than the {:.0} % allowed",
        100.0 * max_bad
    )]
    TooManyBad {
        /// The series.
        name: String,
        /// Positions with a BAD flag.
        n_bad: usize,
        /// All positions.
        n_positions: usize,
        /// The share allowed.
        max_bad: f64,
        /// Which flags, and how often.
        flags: String,
    },
}

impl From<halotau_io::Error> for Error {
    fn from(error: halotau_io::Error) -> Self {
        match error {
            halotau_io::Error::Core(error) => Self::Core(error),
            error => Self::Io(error),
        }
    }
}

impl Error {
    /// An error of reading a path of the user.
    pub fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, source }
    }

    /// An error of creating an output.
    pub fn create(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if out_of_space(&source) {
            let kept = None;
            return Self::Write { path, source, kept };
        }
        Self::Create { path, source }
    }

    /// An error of writing an output.
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
            kept: None,
        }
    }

    /// A file holds something else than it should.
    pub fn content(path: &Path, problem: impl Into<String>) -> Self {
        Self::Content {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    /// An argument is wrong.
    pub fn usage(argument: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Usage {
            argument: argument.into(),
            problem: problem.into(),
        }
    }

    /// Exit code of the command, after `sysexits.h`: 2 usage or recipe, 10 too many bad positions, 65 bad data, 66 missing
    /// input, 70 an error of the program, 71 memory, 73 cannot create, 74 input or output failed, 75 locked,
    /// 77 permission, 78 the recipe contradicts the data, 130 stopped.
    pub fn exit_code(&self) -> u8 {
        self.kind().0
    }

    /// Stable code for documentation and search, such as `E0207`.
    pub fn code(&self) -> &'static str {
        self.kind().1
    }

    fn kind(&self) -> (u8, &'static str) {
        match self {
            Self::Core(error) | Self::CoreAt { source: error, .. } => core_kind(error),
            Self::Io(error) => store_kind(error),
            Self::Figure(halotau_figure::Error::Nothing { .. }) => (65, "E0312"),
            Self::Figure(halotau_figure::Error::TooLarge { .. }) => (71, "E0407"),
            // Lengths and drawings are the program's own.
            Self::Figure(_) | Self::Bench { .. } => (70, "E0500"),
            Self::Recipe(problem) => (2, problem.code),
            Self::Usage { .. } => (2, "E0100"),
            Self::Read { source, .. } => read_kind(source),
            Self::Content { .. } => (65, "E0310"),
            Self::Create { source, .. } => create_kind(source),
            Self::Write { source, .. } => write_kind(source),
            Self::NoResult { .. } => (66, "E0401"),
            Self::Exists { .. } => (73, "E0405"),
            Self::Locked { .. } => (75, "E0406"),
            Self::ParametersDiffer { .. } => (78, "E0210"),
            Self::Memory { .. } => (71, "E0407"),
            Self::Threads { .. } => (71, "E0408"),
            Self::TooManyBad { .. } => (10, "E0311"),
            Self::Uncalibratable { .. } => (78, "E0213"),
            Self::MovedAway { .. } => (78, "E0212"),
        }
    }

    /// Where it happened, in words, if the message does not say.
    pub fn place(&self) -> Option<String> {
        let problem = self.problem()?;
        let (line, column) = problem.line_column()?;
        Some(format!("{}:{line}:{column}", problem.name))
    }

    /// What is complete and valid in spite of the error.
    pub fn kept(&self) -> Option<&str> {
        match self {
            Self::Write { kept, .. } => kept.as_deref(),
            Self::TooManyBad { .. } => Some("all results are written"),
            _ => None,
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Core(error) => return core_help(error),
            Self::CoreAt { source, place } => {
                return place.help.clone().or_else(|| core_help(source));
            }
            Self::Recipe(problem) => return problem.help.clone(),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the spelling; paths in a recipe are relative to the recipe's folder"
            }
            Self::Io(halotau_io::Error::Io { source, .. }) if out_of_space(source) => {
                "free space, then repeat the same command; what is complete is kept"
            }
            Self::Create { .. } => "name another place with -o/--output, or make this one writable",
            Self::Write { source, .. } if out_of_space(source) => {
                "free space, then repeat the same command; it continues"
            }
            Self::NoResult { .. } => {
                "name the folder of a `halotau run` or `halotau reduce`; what `halotau analyze` finds is written beside the reduction that it starts \
                 from, so copy the folder first to keep both"
            }
            Self::Exists { .. } => {
                "name another place with -o/--output, or discard the old one with --restart"
            }
            Self::Locked { .. } => "wait for the other run, or name another output",
            Self::ParametersDiffer { .. } => {
                "name another output with -o/--output, or discard the old work with --restart"
            }
            Self::Memory { .. } => "give more with --memory, or analyze a part with scan.region",
            Self::Threads { .. } => "ask for fewer with --threads",
            Self::Uncalibratable { .. } => {
                "look at the picture; give pattern.center = [row, col], correct pattern.mask, or choose scan.region where there is glass"
            }
            Self::TooManyBad { .. } => {
                "see the quality flags in the report; output.max_bad sets the share allowed"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// The text of the recipe that holds the cause: (text, name, bytes).
    pub fn label(&self) -> Option<(&str, &str, Range<usize>)> {
        let problem = self.problem()?;
        Some((&problem.text, &problem.name, problem.span.clone()?))
    }

    /// The words at the place of [`Error::label`].
    pub fn label_text(&self) -> &str {
        self.problem().map_or("", |problem| &problem.label)
    }

    fn problem(&self) -> Option<&RecipeProblem> {
        match self {
            Self::Recipe(problem) | Self::CoreAt { place: problem, .. } => Some(problem),
            _ => None,
        }
    }
}

fn core_kind(error: &halotau::Error) -> (u8, &'static str) {
    use halotau::Error as Core;
    match error {
        Core::Source { source, .. } => source_kind(source.as_ref()),
        Core::Setting { .. } => (2, "E0103"),
        Core::RingOutside { .. } => (78, "E0207"),
        Core::EmptyRing { .. } => (78, "E0208"),
        Core::PositionOutside { .. } => (78, "E0209"),
        Core::CountOverflow { .. } => (78, "E0211"),
        Core::Stopped => (130, "E0600"),
        Core::Shape { .. } => (65, "E0301"),
        Core::RunOutside { .. } => (65, "E0302"),
        Core::SampleType { .. } => (65, "E0303"),
        Core::DarkFrame { .. } => (65, "E0304"),
        Core::TooFewTimes { .. } => (65, "E0305"),
        Core::TimesNotIncreasing { .. } => (65, "E0306"),
        Core::CenterNotFound { .. } => (65, "E0307"),
        Core::TooFew { .. } => (65, "E0308"),
        _ => (65, "E0300"),
    }
}

fn core_help(error: &halotau::Error) -> Option<String> {
    use halotau::Error as Core;
    match error {
        Core::RingOutside {
            q_min_per_nm,
            q_max_per_nm,
            available_min_per_nm,
            available_max_per_nm,
            ..
        } => {
            let scaled = [(0.1, "smaller"), (10.0, "larger")]
                .into_iter()
                .find(|(factor, _)| {
                    q_min_per_nm * factor >= *available_min_per_nm
                        && q_max_per_nm * factor <= *available_max_per_nm
                });
            let Some((_, direction)) = scaled else {
                return Some(
                    "check pattern.q_step_per_nm, pattern.center and the range; spatial frequencies are 1/d in 1/nm, without 2 pi"
                        .to_owned(),
                );
            };
            Some(format!(
                "a range ten times {direction} would fit: is it a slip between 1/nm and 1/Å (4.4 1/nm = 0.44 1/Å)?"
            ))
        }
        Core::TooFewTimes { n_times: 1, .. } => Some(
            "one scan has no lag; give a folder or list of scans, or the shape (time, row, col, pattern row, pattern col)"
                .to_owned(),
        ),
        Core::Stopped => Some("repeat the same command; it continues".to_owned()),
        Core::TimesNotIncreasing { .. } => {
            Some("give total_s or period_s in the [[data]] block and set time.basis to it".to_owned())
        }
        _ => None,
    }
}

/// The kind of an error that a reader put into [`halotau::Error::Source`].
fn source_kind(error: &(dyn StdError + 'static)) -> (u8, &'static str) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<halotau_io::Error>() {
            return store_kind(error);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return read_kind(error);
        }
        cause = error.source();
    }
    (65, "E0309")
}

/// The kind of an error of a file, folder or store; its exit code is its own.
fn store_kind(error: &halotau_io::Error) -> (u8, &'static str) {
    if let halotau_io::Error::Io { action, source, .. } = error {
        return match *action {
            "write" | "flush" | "rename" => write_kind(source),
            "create" => create_kind(source),
            _ => read_kind(source),
        };
    }
    let exit_code = error.exit_code();
    let code = match exit_code {
        66 => "E0401",
        70 => "E0500",
        71 => "E0407",
        74 => "E0404",
        75 => "E0406",
        77 => "E0402",
        78 => "E0210",
        _ => "E0309",
    };
    (exit_code, code)
}

fn create_kind(error: &io::Error) -> (u8, &'static str) {
    match error {
        error if out_of_space(error) => (74, "E0412"),
        error if denied(error) => (77, "E0402"),
        _ => (73, "E0403"),
    }
}

fn write_kind(error: &io::Error) -> (u8, &'static str) {
    match error {
        error if out_of_space(error) => (74, "E0412"),
        error if denied(error) => (77, "E0402"),
        _ => (74, "E0404"),
    }
}

fn read_kind(error: &io::Error) -> (u8, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => (66, "E0401"),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => (66, "E0401"),
        io::ErrorKind::PermissionDenied => (77, "E0402"),
        io::ErrorKind::InvalidData => (65, "E0309"),
        _ => (74, "E0404"),
    }
}

fn denied(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

fn out_of_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn write_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "disk full".to_owned(),
        io::ErrorKind::QuotaExceeded => "disk quota used up".to_owned(),
        io::ErrorKind::FileTooLarge => "file size limit reached".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_slip_by_ten_in_q_is_recognized() {
        let outside = |q_min_per_nm, q_max_per_nm| {
            Error::from(halotau::Error::RingOutside {
                what: "the detector",
                q_min_per_nm,
                q_max_per_nm,
                available_min_per_nm: 0.0,
                available_max_per_nm: 7.7,
            })
        };
        let slip = outside(42.0, 46.0);
        assert_eq!((slip.exit_code(), slip.code()), (78, "E0207"));
        assert!(slip.help().unwrap().contains("ten times smaller"));
        assert!(outside(420.0, 460.0).help().unwrap().contains("q_step"));
    }

    #[test]
    fn a_reader_s_io_error_is_found_below_its_wrappings() {
        let wrapped = |kind| {
            Error::from(halotau::Error::Source {
                name: "a.npy".to_owned(),
                source: Box::new(Error::read(Path::new("a.npy"), io::Error::from(kind))),
            })
        };
        assert_eq!(wrapped(io::ErrorKind::NotFound).exit_code(), 66);
        assert_eq!(wrapped(io::ErrorKind::PermissionDenied).exit_code(), 77);
        assert_eq!(wrapped(io::ErrorKind::UnexpectedEof).exit_code(), 74);
    }

    #[test]
    fn a_full_disk_is_said_in_words() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::create(Path::new("out"), full);
        assert_eq!((error.exit_code(), error.code()), (74, "E0412"));
        assert_eq!(error.to_string(), "disk full while writing out");
        let in_store = Error::from(halotau_io::Error::Io {
            path: PathBuf::from("out"),
            action: "write",
            source: io::Error::from(io::ErrorKind::StorageFull),
        });
        assert_eq!((in_store.exit_code(), in_store.code()), (74, "E0412"));
        assert!(in_store.help().unwrap().contains("free space"));
        let create = |kind| Error::create(Path::new("out"), io::Error::from(kind)).exit_code();
        assert_eq!(create(io::ErrorKind::ReadOnlyFilesystem), 77);
        assert_eq!(create(io::ErrorKind::NotADirectory), 73);
    }

    #[test]
    fn every_code_is_in_the_table() {
        let table = include_str!("../../../docs/errors.md");
        let sources = [include_str!("error.rs"), include_str!("recipe_file.rs")];
        let codes = sources.iter().flat_map(|text| text.split('"'));
        let is_code = |text: &&str| text.len() == 5 && text.starts_with('E');
        let mut n_codes = 0;
        for code in codes.filter(is_code) {
            assert!(table.contains(&format!("| {code} |")), "{code}");
            n_codes += 1;
        }
        assert!(n_codes > 30, "{n_codes}");
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        let problem = RecipeProblem {
            code: "E0101",
            message: String::new(),
            name: "r.toml".to_owned(),
            text: "a = 1\n[b]\nµ = 2\n".to_owned(),
            span: Some(10..12),
            label: String::new(),
            help: None,
        };
        assert_eq!(problem.line_column(), Some((3, 1)));
        assert_eq!(
            Error::from(Box::new(problem)).place().unwrap(),
            "r.toml:3:1"
        );
    }
}
