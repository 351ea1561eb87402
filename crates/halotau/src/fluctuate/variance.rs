//! V of one position, in all its forms, and without each sector.

use std::ops::Range;

use ndarray::ArrayView2;

use super::{FluctuateSettings, Grouping, Noise};

/// Where each pixel of the band belongs.
#[derive(Debug, Clone)]
pub struct BandGeometry {
    /// Index into the annulus of each band pixel.
    pub pixels: Vec<usize>,
    /// Ring of one binned pixel width, from the lower edge of the band.
    pub ring: Vec<usize>,
    /// Folded azimuthal sector.
    pub sector: Vec<usize>,
    /// Share of the native pixels that a binned pixel holds; counts are divided by it.
    pub coverage: Vec<f64>,
    /// Number of rings.
    pub n_rings: usize,
    /// Number of sectors.
    pub n_sectors: usize,
}

/// V of one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Fluctuation {
    /// In the grouping and with the correction of the settings.
    pub value: f64,
    /// The same without each sector that holds pixels.
    pub without: Vec<f64>,
    /// Raw, per ring.
    pub raw_ring: f64,
    /// Raw, over the band at once.
    pub raw_band: f64,
    /// Counting-corrected, in the grouping of the settings.
    pub counting: f64,
    /// Factorial, in the grouping of the settings; NaN unless the counts are integers.
    pub factorial: f64,
    /// From consecutive scans, in the grouping of the settings.
    pub two_frame: f64,
    /// Mean counts a pixel of the band.
    pub mean_counts: f64,
}

/// Partial sums; a constant, so that sums of floats are the same bits anywhere.
const LANES: usize = 4;

/// Sums over the pixels of one ring, sector and scan. For integer counts all are exact below 2^53.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    n: f64,
    sum: f64,
    square: f64,
    /// Sum of counts over coverage: the variance that an electron adds, at unit gain.
    shot: f64,
    /// Of the pixels that the next scan has as well: number, sum here, sum there, product.
    both: [f64; 4],
}

impl Moments {
    fn of(here: &[f64], next: Option<&[f64]>, noise_share: &[f64]) -> Self {
        let mut sums = Self::default();
        for (pixel, (&count, share)) in here.iter().zip(noise_share).enumerate() {
            if count.is_nan() {
                continue;
            }
            sums.n += 1.0;
            sums.sum += count;
            sums.square += count * count;
            sums.shot += count * share;
            let next = next.map_or(f64::NAN, |next| next[pixel]);
            if !next.is_nan() {
                for (both, value) in sums.both.iter_mut().zip([1.0, count, next, count * next]) {
                    *both += value;
                }
            }
        }
        sums
    }

    /// [`Self::of`] where no sample is missing, in lanes that the processor adds side by side.
    fn of_whole(here: &[f64], next: &[f64], noise_share: &[f64]) -> Self {
        let (heres, here) = here.as_chunks::<LANES>();
        let (nexts, next) = next.as_chunks::<LANES>();
        let (shares, noise_share) = noise_share.as_chunks::<LANES>();
        let [mut sum, mut square, mut shot, mut after, mut product] = [[0.0; LANES]; 5];
        for ((here, next), share) in heres.iter().zip(nexts).zip(shares) {
            for lane in 0..LANES {
                sum[lane] += here[lane];
                square[lane] += here[lane] * here[lane];
                shot[lane] += here[lane] * share[lane];
                after[lane] += next[lane];
                product[lane] += here[lane] * next[lane];
            }
        }
        let total = |lanes: [f64; LANES]| lanes.iter().sum::<f64>();
        let n = (LANES * heres.len()) as f64;
        let sum = total(sum);
        let mut sums = Self {
            n,
            sum,
            square: total(square),
            shot: total(shot),
            both: [n, sum, total(after), total(product)],
        };
        sums.add(&Self::of(here, Some(next), noise_share), 1.0);
        sums
    }

    fn add(&mut self, other: &Self, sign: f64) {
        self.n += sign * other.n;
        self.sum += sign * other.sum;
        self.square += sign * other.square;
        self.shot += sign * other.shot;
        for (both, other) in self.both.iter_mut().zip(other.both) {
            *both += sign * other;
        }
    }

    fn raw(&self) -> f64 {
        self.square * self.n / (self.sum * self.sum) - 1.0
    }

    fn shot_noise(&self) -> f64 {
        self.shot * self.n / (self.sum * self.sum)
    }

    /// The shot noise that is left after the pixels' own mean was taken.
    fn finite_shot_noise(&self) -> f64 {
        self.shot_noise() * (1.0 - 1.0 / self.n)
    }

    fn two_frame(&self) -> f64 {
        let [n, here, there, product] = self.both;
        product * n / (here * there) - 1.0
    }
}

/// The normalized azimuthal variance of one position, eq. (5).
///
/// `band` is `[time, band pixel]`, counts divided by the coverage; NaN samples and invalid scans are left out.
pub fn fluctuation(
    band: ArrayView2<'_, f64>,
    geometry: &BandGeometry,
    valid: &[bool],
    is_integer: bool,
    settings: &FluctuateSettings,
) -> Fluctuation {
    let BandGeometry {
        n_rings, n_sectors, ..
    } = *geometry;
    let n_cells = n_rings * n_sectors;
    let n_times = band.nrows();
    let noise_share: Vec<f64> = geometry.coverage.iter().map(|share| 1.0 / share).collect();
    let runs = runs(geometry);
    let is_whole = !band.iter().any(|count| count.is_nan());
    let band = band.as_standard_layout();
    let scan = |time: usize| {
        let counts = band.row(time).to_slice();
        counts.expect("a row of the standard layout is a slice")
    };
    let mut cells = vec![Moments::default(); n_times * n_cells];
    for time in (0..n_times).filter(|&time| valid[time]) {
        let here = scan(time);
        let next = (time + 1 < n_times && valid[time + 1]).then(|| scan(time + 1));
        for (cell, pixels) in &runs {
            let here = &here[pixels.clone()];
            let next = next.map(|next| &next[pixels.clone()]);
            let share = &noise_share[pixels.clone()];
            let part = match next {
                Some(next) if is_whole => Moments::of_whole(here, next, share),
                _ => Moments::of(here, next, share),
            };
            cells[time * n_cells + cell].add(&part, 1.0);
        }
    }
    let rings: Vec<Moments> = cells
        .chunks(n_sectors.max(1))
        .map(|sectors| {
            let mut ring = Moments::default();
            sectors.iter().for_each(|sector| ring.add(sector, 1.0));
            ring
        })
        .collect();
    let sums = Sums {
        cells: &cells,
        rings: &rings,
        n_times,
        n_rings,
        n_sectors,
    };
    let grouping = settings.grouping;
    let noise = settings.gain * settings.excess_factor;
    let variant = |grouping, noise_kind, left_out| match noise_kind {
        Noise::None => sums.mean(grouping, left_out, Moments::raw),
        Noise::Counting => sums.mean(grouping, left_out, |cell| {
            cell.raw() - noise * cell.shot_noise()
        }),
        Noise::FiniteCounting => sums.mean(grouping, left_out, |cell| {
            cell.raw() - noise * cell.finite_shot_noise()
        }),
        Noise::Factorial if is_integer => {
            sums.mean(grouping, left_out, |cell| cell.raw() - cell.shot_noise())
        }
        Noise::Factorial => f64::NAN,
        Noise::TwoFrame => sums.mean(grouping, left_out, Moments::two_frame),
    };
    let filled: Vec<usize> = (0..n_sectors)
        .filter(|number| geometry.sector.contains(number))
        .collect();
    let without = if filled.len() < 2 {
        Vec::new()
    } else {
        filled
            .iter()
            .map(|&sector| variant(grouping, settings.noise, Some(sector)))
            .collect()
    };
    let total = cells
        .iter()
        .fold((0.0, 0.0), |(sum, n), cell| (sum + cell.sum, n + cell.n));
    Fluctuation {
        value: variant(grouping, settings.noise, None),
        without,
        raw_ring: variant(Grouping::PerRing, Noise::None, None),
        raw_band: variant(Grouping::Band, Noise::None, None),
        counting: variant(grouping, Noise::Counting, None),
        factorial: variant(grouping, Noise::Factorial, None),
        two_frame: variant(grouping, Noise::TwoFrame, None),
        mean_counts: total.0 / total.1,
    }
}

/// Consecutive pixels of one cell, each with the number of the cell. Few where the pixels are in order of their cells.
fn runs(geometry: &BandGeometry) -> Vec<(usize, Range<usize>)> {
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for (pixel, (ring, sector)) in geometry.ring.iter().zip(&geometry.sector).enumerate() {
        let cell = ring * geometry.n_sectors + sector;
        match runs.last_mut() {
            Some((last, pixels)) if *last == cell => pixels.end = pixel + 1,
            _ => runs.push((cell, pixel..pixel + 1)),
        }
    }
    runs
}

struct Sums<'a> {
    /// `[time, ring, sector]`.
    cells: &'a [Moments],
    /// Over all sectors, `[time, ring]`.
    rings: &'a [Moments],
    n_times: usize,
    n_rings: usize,
    n_sectors: usize,
}

impl Sums<'_> {
    /// The mean over scans of a quantity of each ring, weighted with its pixels, or of the whole band.
    fn mean(
        &self,
        grouping: Grouping,
        left_out: Option<usize>,
        value: impl Fn(&Moments) -> f64,
    ) -> f64 {
        let (mut sum, mut n_times) = (0.0, 0_usize);
        for time in 0..self.n_times {
            let rings = (0..self.n_rings).map(|ring| self.ring(time, ring, left_out));
            let at_time = match grouping {
                Grouping::PerRing => {
                    let (mut weighted, mut n) = (0.0, 0.0);
                    for ring in rings.filter(|ring| ring.n > 0.0) {
                        weighted += ring.n * value(&ring);
                        n += ring.n;
                    }
                    weighted / n
                }
                Grouping::Band => {
                    let mut band = Moments::default();
                    rings.for_each(|ring| band.add(&ring, 1.0));
                    value(&band)
                }
            };
            // A scan without counts or without a next one has no value.
            if at_time.is_finite() {
                sum += at_time;
                n_times += 1;
            }
        }
        sum / n_times as f64
    }

    fn ring(&self, time: usize, ring: usize, left_out: Option<usize>) -> Moments {
        let at = time * self.n_rings + ring;
        let mut sum = self.rings[at];
        if let Some(sector) = left_out {
            sum.add(&self.cells[at * self.n_sectors + sector], -1.0);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn geometry(ring: Vec<usize>) -> BandGeometry {
        let n_rings = ring.iter().max().map_or(0, |&last| last + 1);
        let n = ring.len();
        BandGeometry {
            pixels: (0..n).collect(),
            ring,
            sector: (0..n).map(|pixel| pixel % 2).collect(),
            coverage: vec![1.0; n],
            n_rings,
            n_sectors: 2,
        }
    }

    #[test]
    fn two_rings_by_hand() {
        // Ring 0: 1, 3 (V = 5/4 − 1); ring 1: 4, 4, 4, 8 (⟨I²⟩ = 28, ⟨I⟩² = 25).
        let band = array![[1.0, 3.0, 4.0, 4.0, 4.0, 8.0]];
        let geometry = geometry(vec![0, 0, 1, 1, 1, 1]);
        let result = fluctuation(
            band.view(),
            &geometry,
            &[true],
            true,
            &FluctuateSettings::default(),
        );
        let raw = (2.0 * 0.25 + 4.0 * (28.0 / 25.0 - 1.0)) / 6.0;
        assert!((result.raw_ring - raw).abs() < 1e-15);
        let shot = (2.0 * 0.5 + 4.0 * 0.2) / 6.0;
        assert!((result.counting - (raw - shot)).abs() < 1e-15);
        // The default takes 1 − 1/P of each ring's shot noise.
        let finite = (2.0 * 0.5 * 0.5 + 4.0 * 0.2 * 0.75) / 6.0;
        assert!((result.value - (raw - finite)).abs() < 1e-15);
        assert!((result.factorial - result.counting).abs() < 1e-15);
        let band_raw = (122.0 / 6.0) / 16.0 - 1.0;
        assert!((result.raw_band - band_raw).abs() < 1e-15);
        assert!(result.two_frame.is_nan());
        assert_eq!(result.mean_counts, 4.0);
    }

    #[test]
    fn a_uniform_ring_has_no_variance() {
        let band = Array2::from_elem((3, 4), 7.0);
        let settings = FluctuateSettings {
            noise: Noise::None,
            ..FluctuateSettings::default()
        };
        let result = fluctuation(
            band.view(),
            &geometry(vec![0; 4]),
            &[true; 3],
            true,
            &settings,
        );
        assert_eq!(
            (result.value, result.raw_band, result.two_frame),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(result.without, vec![0.0, 0.0]);
    }
}
