//! How is an error told?
//!
//! ```text
//! error[E0412]: disk full while writing shard 17 of 120
//!   where: recipe.toml:41:10, or the line itself where the recipe is at hand
//!   kept:  17 shards are complete and valid
//!   next:  free space, then repeat the same command; it continues
//! ```

use std::error::Error as _;
use std::io::{self, Write};
use std::panic::PanicHookInfo;

use halotau_flow::Error;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    ThemeCharacters, ThemeStyles,
};
use serde_json::json;

use crate::session::Session;

const REPORT_TO: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");

/// Prints an error to stderr; with `--json` as an object to stdout, where scripts look.
pub(crate) fn print(error: &Error, session: &Session) {
    if session.json {
        print_json(
            error.code(),
            &error.to_string(),
            error.place().as_deref(),
            error.help().as_deref(),
        );
    } else {
        complain(&text(error, session.color, session.verbose));
    }
}

/// Prints what clap has to say about the arguments as JSON.
pub(crate) fn print_usage(error: &clap::Error) {
    let text = error.to_string();
    let mut parts = text.trim().split("\n\n");
    let message = parts.next().unwrap_or_default();
    let rest = parts.collect::<Vec<_>>().join(" ");
    let help = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    print_json(
        "E0100",
        message.trim_start_matches("error: "),
        None,
        Some(&help),
    );
}

/// Prints that the program itself is wrong.
pub(crate) fn print_panic(panic: &PanicHookInfo<'_>, wants_json: bool) {
    let message = panic.payload_as_str().unwrap_or("unknown");
    let place = panic.location().map(ToString::to_string);
    let help = format!(
        "this is a bug in halotau, not in your data; please report it at {REPORT_TO} with the command"
    );
    if wants_json {
        print_json("E0500", message, place.as_deref(), Some(&help));
        return;
    }
    let place = place.unwrap_or_default();
    complain(&format!(
        "error[E0500]: internal error: {message}\n  where: {place}\n  kept:  what was complete before is still valid\n  next:  {help}\n"
    ));
}

fn print_json(code: &str, message: &str, place: Option<&str>, help: Option<&str>) {
    let error = json!({"error": {"code": code, "message": message, "where": place, "help": help}});
    // Nobody is left to tell if stdout is closed.
    let _ = writeln!(io::stdout(), "{error}");
}

fn complain(text: &str) {
    // Nobody is left to tell if stderr is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn text(error: &Error, color: bool, verbose: bool) -> String {
    let mut text = match Snippet::of(error) {
        Some(snippet) => snippet.text(error, color),
        None => format!("{} {error}\n", header(error, color)),
    };
    let mut line = |name: &str, words: &str| text.push_str(&format!("  {name:<6} {words}\n"));
    if error.label().is_none()
        && let Some(place) = error.place()
    {
        line("where:", &place);
    }
    if let Some(kept) = error.kept() {
        line("kept:", kept);
    }
    if let Some(help) = error.help() {
        line("next:", &help);
    }
    let mut cause = error.source().filter(|_| verbose);
    while let Some(error) = cause {
        line("cause:", &error.to_string());
        cause = error.source();
    }
    text
}

fn header(error: &Error, color: bool) -> String {
    let code = error.code();
    if color {
        format!("\x1b[1;31merror[{code}]:\x1b[0m")
    } else {
        format!("error[{code}]:")
    }
}

/// The line of the recipe that led to an error, for miette to draw.
#[derive(Debug)]
struct Snippet {
    message: String,
    source: NamedSource<String>,
    label: LabeledSpan,
}

impl Snippet {
    fn of(error: &Error) -> Option<Self> {
        let (text, name, span) = error.label()?;
        Some(Self {
            message: error.to_string(),
            source: NamedSource::new(name, text.to_owned()),
            label: LabeledSpan::at(span, error.label_text()),
        })
    }

    fn text(&self, error: &Error, color: bool) -> String {
        let (characters, styles) = if color {
            (ThemeCharacters::unicode(), ThemeStyles::ansi())
        } else {
            (ThemeCharacters::ascii(), ThemeStyles::none())
        };
        let theme = GraphicalTheme {
            // Where miette draws a cross we say the code.
            characters: ThemeCharacters {
                error: header(error, color),
                ..characters
            },
            styles,
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_wrap_lines(false)
            .with_links(false);
        let mut text = String::new();
        match handler.render_report(&mut text, self) {
            Ok(()) => text.trim_start().to_owned(),
            Err(_) => format!("{} {self}\n", header(error, color)),
        }
    }
}

impl std::fmt::Display for Snippet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Snippet {}

impl Diagnostic for Snippet {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(self.label.clone())))
    }
}
