//! `halotau bench`

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use halotau_flow::Result;
use halotau_flow::bench::{Bench as Speeds, BenchSettings, bench};
use halotau_flow::memory::size_text;

use crate::arguments::size;
use crate::progress::duration;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau bench --size 106GB --file 633K.raw
  halotau bench --json";

/// How fast this machine is, and how long data of a given size will take
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Bench {
    /// Read this file, such as a part of the data, to measure the disk; without it one is made and removed
    #[arg(long)]
    file: Option<PathBuf>,
    /// Folder in which that file is made; the current one if absent
    #[arg(long, value_name = "FOLDER", conflicts_with = "file")]
    folder: Option<PathBuf>,
    /// Its size
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GiB", conflicts_with = "file")]
    made: u64,
    /// Size of the data to say the time of, such as 106GB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<u64>,
}

impl Bench {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let settings = BenchSettings {
            file: self.file.clone(),
            folder: self.folder.clone().unwrap_or_else(|| PathBuf::from(".")),
            made_bytes: self.made,
            size_bytes: self.size,
        };
        if session.dry_run {
            let what = match &settings.file {
                Some(file) => format!("would read {}", file.display()),
                None => format!(
                    "would make, read and remove a file of {} in {}",
                    size_text(settings.made_bytes),
                    settings.folder.display()
                ),
            };
            return session.print(&format!("{what}\n"), &serde_json::json!({ "plan": what }));
        }
        let begin = Instant::now();
        let clock = || begin.elapsed().as_secs_f64();
        let speeds = session.with_context(|context| bench(&settings, &clock, context))?;
        session.print(&text(&speeds), &speeds)
    }
}

fn text(speeds: &Speeds) -> String {
    let Speeds {
        n_threads, disk, ..
    } = speeds;
    let threads = match n_threads {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    };
    let source = match disk.from_disk {
        Some(share) if share < 0.005 => {
            " · all from the page cache: this is not the disk".to_owned()
        }
        Some(share) if share < 0.995 => {
            format!(
                " · {:.0} % of it from the page cache",
                100.0 * (1.0 - share)
            )
        }
        Some(_) => " · all from the disk".to_owned(),
        None => " · how much was in the page cache is not known".to_owned(),
    };
    let mut text = format!(
        "read     {:>8.2} GB/s    {} of {}{source}\n",
        disk.gb_per_s,
        size_text(disk.bytes),
        disk.file.display()
    );
    if let Some(write) = disk.write_gb_per_s {
        text.push_str(&format!(
            "write    {write:>8.2} GB/s    flushed to the disk\n"
        ));
    }
    text.push_str(&format!(
        "copy     {:>8.2} GB/s    memory to memory, 1 thread\n\
         reduce   {:>8.2} GB/s    264 x 264 u16 in memory, binned 4 x 4, {threads}\n\
         product  {:>8.1} GFLOP/s two-time, 106 scans x 209 pixels, 1 thread\n\
         fit      {:>8.0} 1/s     stretch free, 105 lags, 1 thread\n",
        speeds.copy_gb_per_s, speeds.reduce_gb_per_s, speeds.product_gflop_per_s, speeds.fits_per_s
    ));
    if let Some(expected) = &speeds.expected {
        text.push_str(&format!(
            "a pass over {} takes about {}: reading {}, reducing {} meanwhile\n",
            size_text(expected.size_bytes),
            duration(expected.pass_s),
            duration(expected.read_s),
            duration(expected.reduce_s)
        ));
        if disk.from_disk.is_some_and(|share| share < 0.9) {
            text.push_str("  with reading as fast as from the page cache; give --file of a file that was not read lately\n");
        }
    }
    text
}
