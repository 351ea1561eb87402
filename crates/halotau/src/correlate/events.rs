//! The product of a series with itself where most samples are zero: counted data of fast or dim frames.
//!
//! ```text
//! product(t1, t2) = Σ_p Σ over pairs of events of pixel p at t1 <= t2 of count · count
//! ```
//!
//! The cost is that of the pairs of events a pixel has, occupancy² of the dense product's, but each costs as much as
//! about a hundred products that are made in vectors. All sums are integers below 2^53, so that both ways give the same bits.

/// Below this share of samples that are not zero events are faster: pairs cost occupancy²/2 · 1 ns a pixel and pair of scans, the dense
/// product 0.012 ns.
const MAX_OCCUPANCY: f64 = 0.125;

/// Whether the product is made of events, where such a share of the samples is not zero.
pub(super) fn are_few(occupancy: f64) -> bool {
    occupancy < MAX_OCCUPANCY
}

/// Adds the products of pixels to `sums`, `[time_1, time_2]` of padded times; those below the diagonal are left alone.
///
/// `values` is `[pixel, padded time]`.
pub(super) fn add_products_of_events(values: &[u16], padded: usize, sums: &mut [f64]) {
    let mut events: Vec<(usize, f64)> = Vec::with_capacity(padded);
    for pixel in values.chunks_exact(padded.max(1)) {
        events.clear();
        let (vectors, _) = pixel.as_chunks::<16>();
        for (number, vector) in vectors.iter().enumerate() {
            // Most vectors of dim data hold nothing; looking at all sixteen at once is one instruction.
            let any = vector.iter().fold(0, |any, value| any | value);
            if any == 0 {
                continue;
            }
            let counts = vector.iter().enumerate();
            let there = counts.filter(|(_, count)| **count != 0);
            events.extend(there.map(|(at, &count)| (16 * number + at, f64::from(count))));
        }
        for (index, &(first, count)) in events.iter().enumerate() {
            let sums = &mut sums[first * padded..][..padded];
            for &(second, other) in &events[index..] {
                sums[second] += count * other;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::product::add_products;
    use crate::ring::pixel_series::TIME_PAD;

    #[test]
    fn events_give_the_integers_of_the_dense_product() {
        let mut state = 3_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        for (n_times, n_pixels, occupied) in
            [(1, 3, 256), (20, 50, 0), (106, 209, 6), (300, 40, 40)]
        {
            let padded = usize::next_multiple_of(n_times, TIME_PAD);
            let mut values = vec![0; padded * n_pixels];
            for pixel in values.chunks_mut(padded) {
                for value in &mut pixel[..n_times] {
                    let count = 1 + random() % 7;
                    *value = if random() < occupied { count as u16 } else { 0 };
                }
            }
            let (mut dense, mut sparse) = (vec![0.0; padded * padded], vec![0.0; padded * padded]);
            let numbers: Vec<f32> = values.iter().map(|&count| f32::from(count)).collect();
            add_products(&numbers, padded, 256, &mut dense);
            add_products_of_events(&values, padded, &mut sparse);
            for first in 0..n_times {
                let row = first * padded + first..first * padded + n_times;
                assert_eq!(sparse[row.clone()], dense[row]);
            }
        }
    }

    #[test]
    fn an_eighth_is_no_longer_few() {
        assert!(are_few(0.124) && !are_few(0.125));
    }
}
