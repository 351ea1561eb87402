//! `halotau completions`

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use halotau_flow::{Error, Result};

use crate::arguments::Arguments;

const EXAMPLES: &str = "\
Examples:
  halotau completions bash > ~/.local/share/bash-completion/completions/halotau
  halotau completions zsh > ~/.zfunc/_halotau";

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "halotau",
            &mut script,
        );
        match io::stdout().write_all(&script) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::write("standard output".as_ref(), error))
            }
            _ => Ok(()),
        }
    }
}
