//! The ring taken apart into numbers that fluctuate independently.
//!
//! Pixels are cells; where patterns are so fine that a speckle covers many pixels, a cell is a square of them. Cells are in five blocks: four
//! quarters of the circle without what lies near the axes, and the strips along the axes. Opposite quarters make a
//! set: two sets share no speckle and are the halves of the decoupled relation, the strips are the third. Blocks are
//! diagonalized one by one, which is eight times faster than all at once and costs no precision that was seen.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::{Array2, ArrayView1};

use super::coherence::Coherence;
use super::filter::{ModeClass, N_PRODUCTS};
use super::overlap::Overlap;

/// Halves A and B of the directions, and what is in neither.
pub(crate) const N_SETS: usize = 3;

/// Modes with less speckle than this against a shot noise of 1 (for V = 1) are left out.
const MIN_SCALE: f64 = 0.25;

/// Classes of modes, logarithmic in their share of speckle. With five tau is the same.
const N_CLASSES: usize = 8;

/// Modes see between a third and three times of what a pixel sees of a movement.
const NARROWING: [f64; 2] = [0.3, 3.0];

/// What the terms of an overlap leave out of the speckle of a mode may be this share of its shot noise.
const REST_OVER_NOISE: f64 = 0.01;

/// Iterations of the eigenvalue decomposition for each row; it takes two or three.
const ITERATIONS_A_ROW: usize = 60;

/// Independent amplitudes from which on a measured share of speckle weighs more than the calculated one, which is known to about 5 %:
/// the share measured from n of them has a relative error of sqrt(2/n).
const CALCULATED_WEIGHT: f64 = 800.0;

/// Pixels that count as one.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// Place in cells.
    pub(crate) row: i32,
    /// Place in cells.
    pub(crate) col: i32,
    /// Annulus index of each pixel.
    pub(crate) pixels: Vec<usize>,
    /// Counts expected at the mean brightness of the region.
    pub(crate) expected: f64,
    /// Cells of a block are diagonalized together.
    pub(crate) block: usize,
    /// Below [`N_SETS`]; all cells of a block are in one.
    pub(crate) set: usize,
}

/// Counts of one position in cells, at the median beam current.
#[derive(Debug, Clone)]
pub(crate) struct CellSeries {
    /// `[cell][time]` of the scans that are used.
    pub(crate) counts: Vec<f64>,
    /// Mean variance of the shot noise of each cell: the counts as recorded, each over the square of its current.
    pub(crate) noise: Vec<f64>,
    /// Cells of which the position lacks a pixel.
    pub(crate) missing: Vec<bool>,
    /// Scans that are used.
    pub(crate) n_times: usize,
}

impl CellSeries {
    /// The counts of some cells.
    pub(crate) fn of_cells(&self, chosen: &[usize]) -> Self {
        let counts = chosen.iter().flat_map(|&cell| self.of_cell(cell));
        Self {
            counts: counts.copied().collect(),
            noise: chosen.iter().map(|&cell| self.noise[cell]).collect(),
            missing: chosen.iter().map(|&cell| self.missing[cell]).collect(),
            n_times: self.n_times,
        }
    }

    /// The counts of one cell over time.
    pub(crate) fn of_cell(&self, cell: usize) -> &[f64] {
        &self.counts[cell * self.n_times..(cell + 1) * self.n_times]
    }

    /// Brightness of some cells against what is expected, over the record.
    pub(crate) fn level(&self, cells: &[Cell], chosen: impl Fn(&Cell) -> bool) -> f64 {
        let (mut sum, mut expected) = (0.0, 0.0);
        for (number, cell) in cells.iter().enumerate() {
            if chosen(cell) && !self.missing[number] {
                sum += self.of_cell(number).iter().sum::<f64>();
                expected += cell.expected * self.n_times as f64;
            }
        }
        sum / expected
    }
}

/// The modes of a ring.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpeckleModes {
    blocks: Vec<Block>,
    /// What measured shares of speckle are over calculated ones, by class.
    correction: [f64; N_CLASSES],
    /// How modes see a movement of the probe, by class.
    movement: [Movement; N_CLASSES],
    /// What shot noise is over that of counted electrons.
    noise_factor: f64,
}

#[derive(Debug, Clone)]
struct Block {
    set: usize,
    cells: Vec<usize>,
    /// `[cell, mode]`, from the smallest share of speckle.
    vectors: Array2<f64>,
    /// `sqrt(H_p) |mu_pq|² sqrt(H_q)`.
    shared: Array2<f64>,
    classes: Vec<Class>,
}

/// An eigenvector with its eigenvalue.
#[derive(Debug, Clone)]
struct Mode {
    scale: f64,
    vector: Vec<f64>,
}

/// How modes of a class see a movement of the probe.
#[derive(Debug, Clone, Copy, Default)]
struct Movement {
    /// How much less of it than a pixel.
    narrowing: f64,
    /// Share of their speckle that may be taken for noise.
    max_rest: f64,
}

impl Movement {
    /// Of modes with `scale` times as much speckle, for V = 1, as shot noise.
    fn of(scale: f64, narrowing: f64) -> Self {
        // A class without modes has neither.
        if narrowing.is_nan() {
            return Self {
                narrowing: 1.0,
                max_rest: 1.0,
            };
        }
        Self {
            narrowing: narrowing.clamp(NARROWING[0], NARROWING[1]),
            max_rest: REST_OVER_NOISE / scale,
        }
    }
}

#[derive(Debug, Clone)]
struct Class {
    number: usize,
    first: usize,
    n_modes: usize,
    /// Mean variance of their speckle for V = 1.
    scale: f64,
    /// Mean square of the modes, `[cell]`: what each cell's shot noise adds.
    squares: Vec<f64>,
}

impl SpeckleModes {
    /// The modes of these cells.
    pub(crate) fn new(cells: &[Cell], coherence: &Coherence) -> Self {
        let n_blocks = cells.iter().map(|cell| cell.block + 1).max().unwrap_or(0);
        let parts: Vec<(Vec<usize>, Array2<f64>, Vec<Mode>)> = (0..n_blocks)
            .map(|block| {
                let of_block = |&cell: &usize| cells[cell].block == block;
                let chosen: Vec<usize> = (0..cells.len()).filter(of_block).collect();
                let shared = shared(cells, &chosen, |p, q| coherence.between(p, q));
                let modes = block_modes(cells, &chosen, &shared);
                (chosen, shared, modes)
            })
            .collect();
        let largest = parts
            .iter()
            .filter_map(|(_, _, modes)| modes.last())
            .fold(MIN_SCALE, |largest, mode| largest.max(mode.scale));
        let width = libm::log(largest / MIN_SCALE) / N_CLASSES as f64;
        let class_of = |scale: f64| {
            ((libm::log(scale / MIN_SCALE) / width.max(1e-9)) as usize).min(N_CLASSES - 1)
        };
        let mut sums = [[0.0; 3]; N_CLASSES];
        for (chosen, _, modes) in &parts {
            let narrow = shared(cells, chosen, |p, q| coherence.narrowed(p, q));
            for mode in modes {
                let vector = ArrayView1::from(&mode.vector);
                let narrowed = vector.dot(&narrow.dot(&vector));
                let of_class = &mut sums[class_of(mode.scale)];
                for (sum, value) in of_class.iter_mut().zip([1.0, mode.scale, narrowed]) {
                    *sum += value;
                }
            }
        }
        let movement = sums.map(|[n, scale, narrowed]| Movement::of(scale / n, narrowed / scale));
        let blocks = parts
            .into_iter()
            .filter(|(_, _, modes)| !modes.is_empty())
            .map(|(chosen, shared, modes)| {
                let vectors = Array2::from_shape_fn((chosen.len(), modes.len()), |(cell, mode)| {
                    modes[mode].vector[cell]
                });
                let mut classes = Vec::new();
                let mut first = 0;
                for run in modes.chunk_by(|a, b| class_of(a.scale) == class_of(b.scale)) {
                    let n = run.len() as f64;
                    let square = |cell: usize| {
                        run.iter()
                            .map(|mode| mode.vector[cell] * mode.vector[cell])
                            .sum::<f64>()
                            / n
                    };
                    classes.push(Class {
                        number: class_of(run[0].scale),
                        first,
                        n_modes: run.len(),
                        scale: run.iter().map(|mode| mode.scale).sum::<f64>() / n,
                        squares: (0..chosen.len()).map(square).collect(),
                    });
                    first += run.len();
                }
                Block {
                    set: cells[chosen[0]].set,
                    cells: chosen,
                    vectors,
                    shared,
                    classes,
                }
            })
            .collect();
        Self {
            blocks,
            correction: [1.0; N_CLASSES],
            movement,
            noise_factor: 1.0,
        }
    }

    /// How the probes of scans overlap for modes of each class; `likeness(i, j, narrowing)` is the overlap of two as speckle of a narrowing sees it.
    pub(crate) fn overlaps(
        &self,
        n_times: usize,
        likeness: impl Fn(usize, usize, f64) -> f64,
    ) -> Vec<Overlap> {
        let of_class = |movement: &Movement| {
            Overlap::new(n_times, movement.max_rest, |first, second| {
                likeness(first, second, movement.narrowing)
            })
        };
        self.movement.iter().map(of_class).collect()
    }

    /// The amplitudes of one position by set. Sets of cells without counts are empty.
    pub(crate) fn classes(&self, cells: &[Cell], counts: &CellSeries) -> [Vec<ModeClass>; N_SETS] {
        let mut sets = [const { Vec::new() }; N_SETS];
        let levels: Vec<f64> = (0..N_SETS)
            .map(|set| counts.level(cells, |cell| cell.set == set))
            .collect();
        for block in &self.blocks {
            let level = levels[block.set];
            if level.is_nan() || level <= 0.0 {
                continue;
            }
            sets[block.set].extend(self.of_block(block, cells, counts, level));
        }
        sets
    }

    fn of_block<'a>(
        &'a self,
        block: &'a Block,
        cells: &'a [Cell],
        counts: &'a CellSeries,
        level: f64,
    ) -> impl Iterator<Item = ModeClass> + 'a {
        let n_times = counts.n_times;
        let mut fluctuations = Array2::<f64>::zeros((block.cells.len(), n_times));
        let mut noise = vec![0.0; block.cells.len()];
        let mut lacking = Vec::new();
        for (place, &cell) in block.cells.iter().enumerate() {
            if counts.missing[cell] {
                lacking.push(place);
                continue;
            }
            let expected = level * cells[cell].expected;
            let unit = 1.0 / expected.sqrt();
            let row = fluctuations.row_mut(place);
            for (value, &count) in row.into_iter().zip(counts.of_cell(cell)) {
                // A sample that was lost tells nothing.
                *value = if count.is_nan() {
                    0.0
                } else {
                    (count - expected) * unit
                };
            }
            noise[place] = counts.noise[cell] / expected * self.noise_factor;
        }
        let amplitudes = block.vectors.t().dot(&fluctuations);
        block.classes.iter().map(move |class| {
            let own = class.squares.iter().zip(&noise);
            let own_noise: f64 = own.map(|(square, noise)| square * noise).sum();
            let kept = kept_share(block, class, &lacking);
            ModeClass::new(
                class.number,
                n_times,
                class.n_modes,
                own_noise,
                level * class.scale * kept * self.correction[class.number],
                |time, mode| amplitudes[[class.first + mode, time]],
            )
        })
    }

    /// What a position adds to the sums that [`calibrate`](Self::calibrate) needs.
    pub(crate) fn sums(&self, cells: &[Cell], counts: &CellSeries) -> ClassSums {
        let mut sums = ClassSums::default();
        for class in self.classes(cells, counts).iter().flatten() {
            sums.add_class(class);
        }
        sums
    }

    /// Takes shares of speckle and noise from what positions show. `n_areas` independent ones of them are in the sums.
    pub(crate) fn calibrate(&mut self, sums: &ClassSums, n_areas: f64, is_counted: bool) {
        let adjacent = sums.products.map(|products| products[1]);
        let whole = adjacent.iter().sum::<f64>() / sums.scale.iter().sum::<f64>();
        if whole.is_nan() || whole <= 0.0 {
            return;
        }
        let total: f64 = sums.n_modes.iter().sum();
        let n_modes: f64 = self
            .blocks
            .iter()
            .map(|block| block.vectors.ncols() as f64)
            .sum();
        for (number, correction) in self.correction.iter_mut().enumerate() {
            let ratio = adjacent[number] / sums.scale[number] / whole;
            if ratio.is_finite() {
                let n = n_areas * n_modes * sums.n_modes[number] / total;
                *correction = (n * ratio.max(0.0) + CALCULATED_WEIGHT) / (n + CALCULATED_WEIGHT);
            }
        }
        let noise = sums.noise_ratio();
        let is_right = is_counted && (noise - 1.0).abs() < MAX_NOISE_EXCESS;
        if noise > 0.0 && noise.is_finite() && !is_right {
            self.noise_factor = noise;
        }
    }
}

/// Counted electrons have the shot noise of their number; beyond this the counts are something else, such as units of charge.
const MAX_NOISE_EXCESS: f64 = 0.1;

/// Sums over positions that [`SpeckleModes::calibrate`] needs, by class.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClassSums {
    products: [[f64; N_PRODUCTS]; N_CLASSES],
    scale: [f64; N_CLASSES],
    noise: [f64; N_CLASSES],
    n_modes: [f64; N_CLASSES],
}

impl ClassSums {
    fn add_class(&mut self, class: &ModeClass) {
        let number = class.number();
        let n_modes = class.n_modes() as f64;
        for (sum, product) in self.products[number].iter_mut().zip(class.products()) {
            *sum += n_modes * product;
        }
        self.scale[number] += n_modes * class.scale();
        self.noise[number] += n_modes * class.noise();
        self.n_modes[number] += n_modes;
    }

    /// Adds the sums of other positions.
    pub(crate) fn add(&mut self, other: &Self) {
        let products = self.products.as_flattened_mut().iter_mut();
        for (sum, other) in products.zip(other.products.as_flattened()) {
            *sum += other;
        }
        for (sums, others) in [
            (&mut self.scale, &other.scale),
            (&mut self.noise, &other.noise),
            (&mut self.n_modes, &other.n_modes),
        ] {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum += other;
            }
        }
    }

    /// Shot noise over that of counted electrons, from modes of little speckle: what lag 0 has beyond the lags after it.
    ///
    /// ```text
    /// S0 − 3 S1 + 3 S2 − S3 = noise + ⟨(1 − f)³ V l⟩         S0 − S1²/S2 = noise + what the spread of f adds
    /// ```
    ///
    /// Both are too large, the one where tau is a few scans, the other where it differs between positions: the smaller is taken.
    fn noise_ratio(&self) -> f64 {
        let half = N_CLASSES / 2;
        let mut sums = [0.0; N_PRODUCTS];
        for products in &self.products[..half] {
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum += product;
            }
        }
        let [same, first, second, third] = sums;
        let by_lags = same - 3.0 * first + 3.0 * second - third;
        let by_decay = same - first * first / second;
        let is_known = first > 0.0 && second > MIN_LASTING * first;
        let excess = if is_known {
            by_lags.min(by_decay)
        } else {
            by_lags
        };
        excess / self.noise[..half].iter().sum::<f64>()
    }
}

/// Share of the speckle of the next scan that must be left in the one after it for a decay to be read from the two.
const MIN_LASTING: f64 = 0.1;

/// What a class keeps of its speckle where cells are lacking.
///
/// ```text
/// u' M A M u = l (1 − 2 Σ_lacking u²) + Σ_(p, q lacking) u_p A_pq u_q        for A u = l u
/// ```
fn kept_share(block: &Block, class: &Class, lacking: &[usize]) -> f64 {
    if lacking.is_empty() {
        return 1.0;
    }
    let modes = class.first..class.first + class.n_modes;
    let kept: f64 = modes
        .map(|mode| {
            let vector = block.vectors.column(mode);
            let squares: f64 = lacking.iter().map(|&p| vector[p] * vector[p]).sum();
            let among: f64 = lacking
                .iter()
                .map(|&p| {
                    let row = lacking.iter().map(|&q| block.shared[[p, q]] * vector[q]);
                    vector[p] * row.sum::<f64>()
                })
                .sum();
            class.scale * (1.0 - 2.0 * squares) + among
        })
        .sum();
    (kept / (class.scale * class.n_modes as f64)).max(0.0)
}

/// `sqrt(H_p) A_pq sqrt(H_q)` of some cells.
fn shared(cells: &[Cell], chosen: &[usize], of: impl Fn(&Cell, &Cell) -> f64) -> Array2<f64> {
    Array2::from_shape_fn((chosen.len(), chosen.len()), |(p, q)| {
        let (p, q) = (&cells[chosen[p]], &cells[chosen[q]]);
        (p.expected * q.expected).sqrt() * of(p, q)
    })
}

/// Eigenvalues above [`MIN_SCALE`] with their vectors, ascending, orthogonal to the brightness sqrt(H).
fn block_modes(cells: &[Cell], chosen: &[usize], shared: &Array2<f64>) -> Vec<Mode> {
    let n = chosen.len();
    let total: f64 = chosen.iter().map(|&cell| cells[cell].expected).sum();
    let bright: Vec<f64> = chosen
        .iter()
        .map(|&cell| (cells[cell].expected / total).sqrt())
        .collect();
    let along: Vec<f64> = shared
        .rows()
        .into_iter()
        .map(|row| row.iter().zip(&bright).map(|(a, b)| a * b).sum())
        .collect();
    let twice: f64 = along.iter().zip(&bright).map(|(a, b)| a * b).sum();
    let matrix = DMatrix::from_fn(n, n, |p, q| {
        shared[[p, q]] - bright[p] * along[q] - along[p] * bright[q] + bright[p] * bright[q] * twice
    });
    if n == 0 || !matrix.iter().all(|value| value.is_finite()) {
        return Vec::new();
    }
    let Some(eigen) = SymmetricEigen::try_new(matrix, f64::EPSILON, ITERATIONS_A_ROW * n) else {
        return Vec::new();
    };
    let mut modes: Vec<Mode> = eigen
        .eigenvalues
        .iter()
        .zip(eigen.eigenvectors.column_iter())
        .filter(|(value, _)| **value > MIN_SCALE)
        .map(|(&scale, vector)| Mode {
            scale,
            vector: vector.iter().copied().collect(),
        })
        .collect();
    modes.sort_by(|a, b| a.scale.total_cmp(&b.scale));
    modes
}
