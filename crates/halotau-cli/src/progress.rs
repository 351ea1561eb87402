//! How far is the work? Bars on a terminal, plain lines every ten seconds elsewhere.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use halotau_flow::memory::size_text;
use halotau_flow::{Event, Unit};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Long enough not to fill the log of a batch job, short enough to see that it lives.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows events on stderr.
pub(crate) struct Progress {
    quiet: bool,
    is_terminal: bool,
    color: bool,
    stage: Mutex<Option<Stage>>,
}

struct Stage {
    name: String,
    total: u64,
    done: u64,
    unit: Unit,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(quiet: bool, is_terminal: bool, color: bool) -> Self {
        Self {
            quiet,
            is_terminal,
            color,
            stage: Mutex::new(None),
        }
    }

    /// Shows an event; called from any thread.
    pub(crate) fn hear(&self, event: Event) {
        let mut stage = self.lock();
        match event {
            Event::Warning(warning) => {
                let code = if self.color {
                    format!("\x1b[1;33mwarning[{}]:\x1b[0m", warning.code)
                } else {
                    format!("warning[{}]:", warning.code)
                };
                say(&mut stage, &format!("{code} {}", warning.text));
            }
            _ if self.quiet => {}
            Event::Note(text) => say(&mut stage, &text),
            Event::Stage { name, total, unit } => {
                *stage = Some(Stage::new(name, total, unit, self.is_terminal));
            }
            Event::Advance(amount) => {
                if let Some(stage) = stage.as_mut() {
                    stage.advance(amount);
                }
            }
            Event::StageDone => close(&mut stage, true),
        }
    }

    /// Ends what an error left open.
    pub(crate) fn finish(&self) {
        close(&mut self.lock(), false);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stage>> {
        // A panic elsewhere leaves at worst a wrong count here.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line for people, above the bar if there is one.
fn say(stage: &mut Option<Stage>, text: &str) {
    match stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
        Some(bar) => bar.suspend(|| print(text)),
        None => print(text),
    }
}

fn print(text: &str) {
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

fn close(stage: &mut Option<Stage>, complete: bool) {
    let Some(stage) = stage.take() else { return };
    if let Some(bar) = &stage.bar {
        bar.finish_and_clear();
    }
    if complete {
        print(&stage.summary());
    }
}

impl Stage {
    fn new(name: String, total: u64, unit: Unit, is_terminal: bool) -> Self {
        let now = Instant::now();
        let bar = is_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(style(unit));
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            name,
            total,
            done: 0,
            unit,
            started: now,
            last_line: now,
            bar,
        }
    }

    fn advance(&mut self, amount: u64) {
        self.done = self.done.saturating_add(amount);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            print(&self.line());
        }
    }

    /// `reduce 633 K   74 %   1.18 GB/s   24 s left`.
    fn line(&self) -> String {
        let elapsed_s = self.started.elapsed().as_secs_f64();
        let share = self.done as f64 / self.total.max(1) as f64;
        let left = if self.done == 0 {
            "?".to_owned()
        } else {
            duration((elapsed_s * (1.0 / share - 1.0)).max(0.0))
        };
        format!(
            "{}   {:.0} %   {}/s   {left} left",
            self.name,
            100.0 * share,
            amount(self.done as f64 / elapsed_s, self.unit)
        )
    }

    /// `reduce 633 K   106 GB in 1 min 50 s`.
    fn summary(&self) -> String {
        let elapsed = duration(self.started.elapsed().as_secs_f64());
        format!(
            "{}   {} in {elapsed}",
            self.name,
            amount(self.done as f64, self.unit)
        )
    }
}

fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => size_text(value as u64),
        Unit::Positions => format!("{value:.0} positions"),
        Unit::Items => format!("{value:.0} items"),
    }
}

/// Seconds for people: 12 min 30 s.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 60.0 => format!("{s:.0} s"),
        s if s < 3600.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!(
            "{:.0} h {:.0} min",
            (s / 3600.0).floor(),
            (s % 3600.0) / 60.0
        ),
    }
}

fn style(unit: Unit) -> ProgressStyle {
    let amounts = match unit {
        Unit::Bytes => "{decimal_bytes_per_sec}",
        Unit::Positions => "{per_sec} positions",
        Unit::Items => "{pos}/{len}",
    };
    let template = format!("  {{prefix}} {{bar:24}} {{percent:>3}} %  {amounts}  {{eta}} left");
    ProgressStyle::with_template(&template).expect("the template above is well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (24.2, "24 s"),
            (110.0, "1 min 50 s"),
            (7500.0, "2 h 5 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn a_line_has_share_rate_and_time_left() {
        let mut stage = Stage::new("reduce 633 K".to_owned(), 100, Unit::Positions, false);
        stage.started = Instant::now() - Duration::from_secs(10);
        stage.advance(50);
        assert_eq!(
            stage.line(),
            "reduce 633 K   50 %   5 positions/s   10 s left"
        );
    }
}
