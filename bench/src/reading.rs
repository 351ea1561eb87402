//! How fast are the files of each format read, beside copying memory?
//!
//! Each file holds the same scan (`make_files.py`). It is opened and read twice in blocks of whole scan rows, so that
//! it comes from the page cache; CPU seconds of the second time count. Bytes are those of the decoded samples. The sum of all
//! samples is asserted.

use std::error::Error;
use std::path::Path;

use cpu_time::ProcessTime;
use halotau::series::{FrameBlock, FrameRun, Sample};
use halotau::with_samples;
use halotau_io::{OpenRequest, open};

/// Bytes of the copy that reading is compared with: beyond every cache.
const COPY_BYTES: usize = 256 << 20;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(run)
}

fn run() -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/files");
    let listed = std::fs::read(folder.join("files.json"))?;
    let files: Vec<serde_json::Value> = serde_json::from_slice(&listed)?;
    println!("| format | GB/s a CPU second | share of the copy |");
    println!("|---|---|---|");
    let copy = copy_rate();
    println!("| memory copy | {:.2} | 1 |", copy / 1e9);
    for file in &files {
        let text = |key: &str| file[key].as_str().ok_or("files.json has no text there");
        let shape: [usize; 5] = serde_json::from_value(file["shape"].clone())?;
        let request = OpenRequest {
            shape: Some(shape),
            ..OpenRequest::new(folder.join(text("path")?))
        };
        let expected = file["sum"].as_f64().ok_or("files.json has no sum")?;
        let name = text("name")?;
        read(&request)?;
        let (rate, sum) = read(&request)?;
        assert_eq!(sum, expected, "{name}");
        println!("| {name} | {:.2} | {:.2} |", rate / 1e9, rate / copy);
    }
    Ok(())
}

/// Bytes a CPU second, and the sum of all samples, whose time does not count.
fn read(request: &OpenRequest) -> Outcome<(f64, f64)> {
    let source = open(request)?;
    let header = source.header();
    let shape = header.shape;
    let mut block = FrameBlock::empty(header.sample_type);
    let mut seconds = 0.0;
    let mut sum = 0.0;
    for row in 0..shape.n_rows {
        let run = FrameRun {
            first_time: 0,
            n_times: shape.n_times,
            first_frame: row * shape.n_cols,
            n_frames: shape.n_cols,
        };
        let start = ProcessTime::now();
        source.read(&run, &mut block)?;
        seconds += start.elapsed().as_secs_f64();
        sum += with_samples!(&block.samples, samples => {
            samples.iter().map(|&sample| sample.to_f64()).sum::<f64>()
        });
    }
    let n_bytes = shape
        .n_bytes(header.sample_type)
        .ok_or("the series is too large to be counted")?;
    Ok((n_bytes as f64 / seconds, sum))
}

/// Bytes a CPU second of copying from one buffer to another, the best of three.
fn copy_rate() -> f64 {
    let from = vec![1_u8; COPY_BYTES];
    let mut to = vec![0_u8; COPY_BYTES];
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let start = ProcessTime::now();
        to.copy_from_slice(&from);
        best = best.max(COPY_BYTES as f64 / start.elapsed().as_secs_f64());
        assert_eq!(to[COPY_BYTES - 1], 1);
    }
    best
}
