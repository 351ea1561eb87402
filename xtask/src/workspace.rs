//! Where the project is, and running programs in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Done, Failure};

/// The project on this computer.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn find() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest);
        Self {
            root: root.to_path_buf(),
        }
    }

    /// A path inside the project.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The folder of everything that is built.
    pub(crate) fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR").map_or_else(
            || self.path("target"),
            |target| self.root.join(PathBuf::from(target)),
        )
    }

    /// The folder of sample files, where it lies beside the project: many, and too large to be tracked.
    /// Tests that find no samples check what they can without.
    pub(crate) fn samples(&self) -> Option<PathBuf> {
        env::var_os("HALOTAU_SAMPLES")
            .map(PathBuf::from)
            .or_else(|| self.path("../shared/data").canonicalize().ok())
            .filter(|folder| folder.is_dir())
    }

    /// A program to be started in the root of the project, with `HALOTAU_SAMPLES` set where there are samples.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        if let Some(samples) = self.samples() {
            command.env("HALOTAU_SAMPLES", samples);
        }
        command
    }

    /// Runs a command to its end; its output goes to the terminal.
    pub(crate) fn run(&self, command: &mut Command) -> Result<Done, Failure> {
        println!("{}", written(command));
        let status = command
            .status()
            .map_err(|error| format!("`{}` could not be started: {error}", written(command)))?;
        if status.success() {
            Ok(Done::Passed)
        } else {
            Err(format!("`{}` ended with {status}", written(command)))
        }
    }

    /// Runs cargo.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<Done, Failure> {
        self.run(self.command("cargo").args(arguments))
    }

    /// What a program prints.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let output = self
            .command(program)
            .args(arguments)
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(|error| format!("`{program}` could not be started: {error}"))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(format!(
                "`{program} {}` ended with {}",
                arguments.join(" "),
                output.status
            ))
        }
    }
}

/// A command as a person would type it.
fn written(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether this runs in CI, where a missing tool is a failure and not a reason to leave a check out.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}
