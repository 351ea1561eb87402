//! What does a word of 64 bits of the stream say?
//!
//! ```text
//! 63..60   59..56        meaning
//! 0xB                    hit: pixel address 59..44, ToA 43..30, ToT 29..20, fToA 19..16, SPIDR time 15..0
//! 0x6      F A E B       TDC 1 rises, falls, TDC 2 rises, falls: trigger number 55..44, time 43..9, fine 8..5
//! 0x4      4 5           global time: low 32 bits 47..16, high 16 bits 31..16
//! ```
//!
//! Times are counted here in ticks of 25 ns / 96, in which all of the detector's units are whole:
//!
//! ```text
//! 25 ns = 96      1.5625 ns (fToA) = 6      3.125 ns (TDC) = 12      260.4 ps (TDC, fine) = 1
//! hit = (SPIDR time · 2¹⁴ + ToA) · 96 - fToA · 6, which begins anew every 26.8 s
//! ```

/// Ticks in 25 ns.
pub(super) const TICKS_PER_25_NS: i64 = 96;
/// Ticks after which the time of a hit begins anew: 2³⁰ times 25 ns.
pub(super) const HIT_PERIOD: i64 = (1 << 30) * TICKS_PER_25_NS;
/// Ticks after which the time of a pulse begins anew: 2³⁵ times 3.125 ns.
pub(super) const PULSE_PERIOD: i64 = (1 << 35) * 12;
/// Ticks after which the global time begins anew: 2⁴⁸ times 25 ns, 81 days.
pub(super) const GLOBAL_PERIOD: i64 = (1 << 48) * TICKS_PER_25_NS;

/// `TPX3`, the low half of the word before each packet.
const PACKET: u32 = u32::from_le_bytes(*b"TPX3");

/// A pixel that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// On the chip.
    pub(super) row: u16,
    /// On the chip.
    pub(super) col: u16,
    /// Ticks since the last beginning.
    pub(super) ticks: i64,
}

/// An edge of a trigger input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Tdc1Rise,
    Tdc1Fall,
    Tdc2Rise,
    Tdc2Fall,
}

impl Edge {
    pub(super) const ALL: [Self; 4] = [
        Self::Tdc1Rise,
        Self::Tdc1Fall,
        Self::Tdc2Rise,
        Self::Tdc2Fall,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tdc1Rise => "tdc1_rise",
            Self::Tdc1Fall => "tdc1_fall",
            Self::Tdc2Rise => "tdc2_rise",
            Self::Tdc2Fall => "tdc2_fall",
        }
    }
}

/// What a word of a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Hit(Hit),
    /// Ticks since the last beginning.
    Pulse(Edge, i64),
    GlobalLow(u32),
    GlobalHigh(u16),
    /// Status, or a kind that is not known.
    Other,
}

/// The packet that a word announces: the chip, and how many words follow.
pub(super) fn packet(word: u64) -> Option<(u8, u64)> {
    (word as u32 == PACKET).then_some(((word >> 32) as u8, (word >> 48) / 8))
}

impl Word {
    pub(super) fn parse(word: u64) -> Self {
        let bits = |from: u32, n: u32| word >> from & ((1 << n) - 1);
        match bits(60, 4) {
            0xb => {
                let address = bits(44, 16);
                let col_pair = (address & 0xfe00) >> 8;
                let row_group = (address & 0x01f8) >> 1;
                let pixel = address & 7;
                let coarse = bits(0, 16) << 14 | bits(30, 14);
                Self::Hit(Hit {
                    row: (row_group + (pixel & 3)) as u16,
                    col: (col_pair + pixel / 4) as u16,
                    ticks: coarse as i64 * TICKS_PER_25_NS - bits(16, 4) as i64 * 6,
                })
            }
            0x6 => {
                let edge = match bits(56, 4) {
                    0xf => Edge::Tdc1Rise,
                    0xa => Edge::Tdc1Fall,
                    0xe => Edge::Tdc2Rise,
                    0xb => Edge::Tdc2Fall,
                    _ => return Self::Other,
                };
                // The fine time counts from 1; 0 says that there is none.
                let fine = bits(5, 4).saturating_sub(1);
                Self::Pulse(edge, (bits(9, 35) * 12 + fine) as i64)
            }
            0x4 => match bits(56, 4) {
                0x4 => Self::GlobalLow(bits(16, 32) as u32),
                0x5 => Self::GlobalHigh(bits(16, 16) as u16),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// Turns times that begin anew into times that do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Clock {
    /// The last time, ticks.
    now: i64,
    /// The last low half of the global time.
    low: u32,
}

impl Clock {
    /// A clock that shows a time.
    pub(super) fn at(now: i64) -> Self {
        Self { now, low: 0 }
    }

    /// The time nearest to the last one that is `ticks` after a multiple of `period`.
    pub(super) fn unwrap(&mut self, ticks: i64, period: i64) -> i64 {
        let turns = (self.now - ticks + period / 2).div_euclid(period);
        // Nothing happens before the clock was started.
        self.now = ticks + turns.max(0) * period;
        self.now
    }

    /// Takes the halves of the global time; gives it where it is complete.
    pub(super) fn global(&mut self, word: Word) -> Option<i64> {
        match word {
            Word::GlobalLow(low) => {
                self.low = low;
                None
            }
            Word::GlobalHigh(high) => {
                let count = i64::from(high) << 32 | i64::from(self.low);
                Some(self.unwrap(count * TICKS_PER_25_NS, GLOBAL_PERIOD))
            }
            _ => None,
        }
    }
}

/// Goes through the words of a stream, packet by packet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Packets {
    chip: u8,
    /// Words of the packet that are still to come.
    left: u64,
}

/// What a word is for the walk through the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The word before a packet.
    Packet,
    /// A word of a packet, with the number of its chip.
    Inside(u8, Word),
    /// A word that belongs to no packet: the stream was damaged here.
    Stray,
}

impl Packets {
    /// Whether the next word should begin a packet.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0
    }

    pub(super) fn step(&mut self, word: u64) -> Step {
        // No word of data has so low a kind: a packet that begins inside another ends it, because some words were lost.
        let begins = packet(word).filter(|_| self.left == 0 || word >> 60 < 4);
        if let Some((chip, n_words)) = begins {
            *self = Self {
                chip,
                left: n_words,
            };
            return Step::Packet;
        }
        if self.left == 0 {
            return Step::Stray;
        }
        self.left -= 1;
        Step::Inside(self.chip, Word::parse(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_layout_says() {
        // Column pair 0b1010101 (170), row group 0b110011 (204), pixel 6: second column, third row.
        let address: u64 = 0b1010101 << 9 | 0b110011 << 3 | 6;
        let word = 0xb << 60 | address << 44 | 0x1234 << 30 | 0x3ff << 20 | 5 << 16 | 0x4321;
        assert_eq!(
            Word::parse(word),
            Word::Hit(Hit {
                row: 206,
                col: 171,
                ticks: ((0x4321 << 14) + 0x1234) * 96 - 30,
            })
        );
        let pulse = 0x6e << 56 | 77 << 44 | 1000 << 9 | 4 << 5;
        assert_eq!(
            Word::parse(pulse),
            Word::Pulse(Edge::Tdc2Rise, 1000 * 12 + 3)
        );
        assert_eq!(Word::parse(0x72 << 56), Word::Other);
        assert_eq!(packet(u64::from(PACKET) | 3 << 32 | 24 << 48), Some((3, 3)));
    }

    #[test]
    fn the_clock_goes_on_where_counters_begin_anew() {
        let mut clock = Clock::at(HIT_PERIOD - 500);
        assert_eq!(clock.unwrap(100, HIT_PERIOD), HIT_PERIOD + 100);
        // A word that comes a little late belongs before the turn.
        assert_eq!(clock.unwrap(HIT_PERIOD - 7, HIT_PERIOD), HIT_PERIOD - 7);
        assert_eq!(clock.global(Word::GlobalLow(0x8000_0000)), None);
        let global = clock.global(Word::GlobalHigh(2));
        assert_eq!(global, Some(0x2_8000_0000 * TICKS_PER_25_NS));
        let now = 0x2_8000_0000 * TICKS_PER_25_NS;
        let hit = (now + 1_000_000).rem_euclid(HIT_PERIOD);
        assert_eq!(clock.unwrap(hit, HIT_PERIOD), now + 1_000_000);
    }

    #[test]
    fn a_packet_inside_another_ends_it() {
        let header = |n_bytes: u64| u64::from(PACKET) | n_bytes << 48;
        let mut packets = Packets::default();
        assert_eq!(packets.step(7), Step::Stray);
        assert_eq!(packets.step(header(16)), Step::Packet);
        assert!(matches!(packets.step(0x72 << 56), Step::Inside(0, _)));
        assert_eq!(packets.step(header(8)), Step::Packet);
        assert!(matches!(packets.step(0x72 << 56), Step::Inside(0, _)));
        assert!(packets.is_between());
    }
}
