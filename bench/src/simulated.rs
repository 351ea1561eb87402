//! A series with the sizes of the paper's and a known relaxation time a position.
//!
//! Every pixel is a complex Gaussian field of its own with correlation exp(−t/tau), so g − 1 = exp(−2 t/tau). Physics that
//! costs time and does not change the amount of work (probe overlap, speckle size, counting noise) is left out.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use halotau::ndarray::Array5;
use halotau::source::MemorySeries;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The paper's binned pattern.
pub(crate) const SIDE: usize = 66;
pub(crate) const CENTER: [f64; 2] = [33.0, 33.0];
pub(crate) const Q_STEP_PER_NM: f64 = 0.23;

/// The paper's number of scans and its measured period.
pub(crate) const N_TIMES: usize = 106;
pub(crate) const PERIOD_S: f64 = 9.89;

/// 256 positions: 0.24 GB, beyond every cache and within every memory.
pub(crate) const SCAN: [usize; 2] = [16, 16];

/// Mean counts a pixel, about those of the paper at 1 ms.
const MEAN_COUNTS: f64 = 15.0;

/// The series and its truth.
pub(crate) struct Simulated {
    /// `[time, row, col, pattern row, pattern col]`.
    pub(crate) counts: Array5<u16>,
    /// Relaxation time of each position, row by row.
    pub(crate) tau_s: Vec<f64>,
}

impl Simulated {
    pub(crate) fn new() -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let frame = SIDE * SIDE;
        let mut counts = Array5::zeros((N_TIMES, SCAN[0], SCAN[1], SIDE, SIDE));
        let mut tau_s = Vec::new();
        for row in 0..SCAN[0] {
            for col in 0..SCAN[1] {
                // Log-uniform over the range in which a record of 106 scans determines tau.
                let tau = 50.0 * 8.0_f64.powf(random.random::<f64>());
                tau_s.push(tau);
                let keep = (-PERIOD_S / tau).exp();
                let renew = (1.0 - keep * keep).sqrt();
                let mut field: Vec<[f64; 2]> = (0..frame).map(|_| draw(&mut random)).collect();
                for time in 0..N_TIMES {
                    let mut pattern =
                        counts.slice_mut(halotau::ndarray::s![time, row, col, .., ..]);
                    for (value, field) in pattern.iter_mut().zip(&mut field) {
                        if time > 0 {
                            let new = draw(&mut random);
                            *field = [
                                keep * field[0] + renew * new[0],
                                keep * field[1] + renew * new[1],
                            ];
                        }
                        let intensity =
                            0.5 * MEAN_COUNTS * (field[0] * field[0] + field[1] * field[1]);
                        *value = (intensity + random.random::<f64>()) as u16;
                    }
                }
            }
        }
        Self { counts, tau_s }
    }

    /// The series as reduce reads it.
    pub(crate) fn source(&self) -> halotau::Result<MemorySeries> {
        MemorySeries::from_counts("benchmark", self.counts.view())
    }

    /// Writes `series.npy` and `truth.npy` for the Python twin.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let shape: Vec<String> = self.counts.shape().iter().map(usize::to_string).collect();
        let bytes = self.counts.iter().flat_map(|count| count.to_le_bytes());
        write_npy(&folder.join("series.npy"), "<u2", &shape.join(", "), bytes)?;
        let bytes = self.tau_s.iter().flat_map(|tau| tau.to_le_bytes());
        write_npy(
            &folder.join("truth.npy"),
            "<f8",
            &format!("{},", self.tau_s.len()),
            bytes,
        )
    }
}

fn draw(random: &mut impl Rng) -> [f64; 2] {
    [StandardNormal.sample(random), StandardNormal.sample(random)]
}

/// NumPy's format 1.0: magic, version, length of the header, header padded to 64 bytes, samples.
fn write_npy(
    path: &Path,
    kind: &str,
    shape: &str,
    bytes: impl Iterator<Item = u8>,
) -> io::Result<()> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(length as u16).to_le_bytes())?;
    file.write_all(format!("{header:<width$}\n", width = length - 1).as_bytes())?;
    for byte in bytes {
        file.write_all(&[byte])?;
    }
    file.flush()
}

/// The median of tau over its truth, checked to be 1.
///
/// # Panics
/// Panics where it is not: a benchmark of a wrong answer is none.
pub(crate) fn median_ratio<'a>(
    tau_s: impl Iterator<Item = &'a f64>,
    truth_s: &[f64],
    tolerance: f64,
) -> f64 {
    let mut ratios: Vec<f64> = tau_s.zip(truth_s).map(|(tau, truth)| tau / truth).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    assert!(
        (median - 1.0).abs() < tolerance,
        "median of tau / truth is {median}"
    );
    median
}
