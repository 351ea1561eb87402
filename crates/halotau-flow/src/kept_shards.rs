//! Counts that were read from a result folder and stay in memory: an analysis goes over them up to eight times.
//!
//! Decoding takes longer than most of what is then computed, so shards are kept as long as they fit, the first ones first. What does not fit is
//! read again each time, as without.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use halotau::reduce::Shard;
use halotau::ring::RingSeries;
use halotau::with_counts;

/// Shards in memory, and the room for more.
#[derive(Debug)]
pub(crate) struct KeptShards {
    shards: Vec<OnceLock<RingSeries>>,
    room_bytes: AtomicU64,
}

impl KeptShards {
    /// Room for some bytes of the counts of so many shards.
    pub(crate) fn new(n_shards: usize, room_bytes: u64) -> Self {
        Self {
            shards: (0..n_shards).map(|_| OnceLock::new()).collect(),
            room_bytes: AtomicU64::new(room_bytes),
        }
    }

    /// A shard that is here, or what `read` gives, which stays where it fits.
    pub(crate) fn shard<E>(
        &self,
        shard: &Shard,
        read: impl FnOnce() -> Result<RingSeries, E>,
    ) -> Result<Cow<'_, RingSeries>, E> {
        let Some(place) = self.shards.get(shard.index) else {
            return read().map(Cow::Owned);
        };
        if let Some(kept) = place.get() {
            return Ok(Cow::Borrowed(kept));
        }
        let rings = read()?;
        let needed = n_bytes(&rings);
        let take = |room: u64| room.checked_sub(needed);
        let fits = self
            .room_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Ok(match fits {
            // Where another thread was faster, its shard holds the same counts.
            Ok(_) => Cow::Borrowed(place.get_or_init(|| rings)),
            Err(_) => Cow::Owned(rings),
        })
    }
}

/// Bytes of a shard's counts and of what says which are there.
fn n_bytes(rings: &RingSeries) -> u64 {
    let counts = with_counts!(&rings.counts, counts => {
        counts.iter().next().map_or(0, |count| counts.len() * size_of_val(count))
    });
    let pixels = rings.pixel_valid.as_ref().map_or(0, |valid| valid.len());
    (counts + rings.frame_valid.len() + pixels) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use halotau::ndarray::{Array3, Array4};
    use halotau::ring::RingCounts;
    use std::cell::Cell;
    use std::convert::Infallible;

    #[test]
    fn what_fits_is_read_once_and_the_rest_each_time() {
        let n_read = Cell::new(0);
        let read = |index: usize| {
            n_read.set(n_read.get() + 1);
            Ok::<_, Infallible>(RingSeries {
                first_row: index,
                first_col: 0,
                counts: RingCounts::U16(Array4::from_elem((1, 2, 3, 4), index as u16)),
                frame_valid: Array3::from_elem((1, 2, 3), true),
                pixel_valid: None,
            })
        };
        // 48 bytes of counts and 6 of validity each: two shards fit.
        let kept = KeptShards::new(3, 120);
        for round in 1..=3 {
            for index in 0..3 {
                let shard = Shard {
                    index,
                    first_row: index,
                    n_rows: 1,
                    first_col: 0,
                    n_cols: 2,
                };
                let rings = kept.shard(&shard, || read(index)).expect("nothing fails");
                assert_eq!(rings.first_row, index);
                assert_eq!(matches!(rings, Cow::Borrowed(_)), index < 2);
            }
            assert_eq!(n_read.get(), 2 + round);
        }
    }
}
