//! Where in the stream are the hits of which time?
//!
//! One pass over the file notes, for every megabyte, the times of its hits and the state of the clock at its start, so that
//! later any stretch of time is decoded from those megabytes alone. Words arrive out of order by some microseconds; counting does
//! not mind, so nothing is sorted but the pulses.

use std::collections::BTreeSet;

use super::words::{
    Clock, Edge, GLOBAL_PERIOD, HIT_PERIOD, Hit, PULSE_PERIOD, Packets, Step, TICKS_PER_25_NS, Word,
};
use crate::error::Result;
use crate::positioned::PositionedFile;

/// Bytes of a block: large against a request's cost, small against memory.
const BLOCK_BYTES: u64 = 1 << 20;
/// Every chip of a detector reports a pulse, up to some clock cycles apart.
const SAME_PULSE: i64 = 4 * TICKS_PER_25_NS;

/// A part of the stream that begins with a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    start: u64,
    end: u64,
    clock: Clock,
    /// Ticks of the first and the last hit; the first is after the last where there is none.
    first: i64,
    last: i64,
}

/// How many words of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) packets: u64,
    pub(super) hits: u64,
    pub(super) pulses: u64,
    pub(super) global_times: u64,
    pub(super) others: u64,
    pub(super) strays: u64,
}

/// What one pass over the stream finds.
#[derive(Debug)]
pub(super) struct Index {
    file: PositionedFile,
    blocks: Vec<Block>,
    pub(super) counts: Counts,
    /// Chips that sent packets.
    pub(super) chips: BTreeSet<u8>,
    /// Times of the pulses of each edge, growing, each once.
    pulses: [Vec<i64>; 4],
    /// Time of the first hit.
    pub(super) first_hit: Option<i64>,
    /// The latest time of any word.
    pub(super) end: i64,
}

impl Index {
    pub(super) fn of(file: PositionedFile) -> Result<Self> {
        let mut index = Self {
            blocks: Vec::new(),
            counts: Counts::default(),
            chips: BTreeSet::new(),
            pulses: Default::default(),
            first_hit: None,
            end: 0,
            file,
        };
        let mut clock = Clock::at(index.start_time()?);
        let mut packets = Packets::default();
        let mut at = 0;
        let mut bytes = Vec::new();
        while at < index.file.len() {
            // Whole words; what is left at the end of a file that was cut is none.
            let n_bytes = (index.file.len() - at).min(BLOCK_BYTES) / 8 * 8;
            if n_bytes == 0 {
                break;
            }
            bytes.resize(n_bytes as usize, 0);
            index.file.read_exact_at(&mut bytes, at)?;
            for word in bytes.as_chunks().0 {
                index.take(u64::from_le_bytes(*word), at, &mut packets, &mut clock);
                at += 8;
            }
        }
        if let Some(block) = index.blocks.last_mut() {
            block.end = at;
        }
        for pulses in &mut index.pulses {
            pulses.sort_unstable();
            pulses.dedup_by(|this, before| *this - *before <= SAME_PULSE);
        }
        Ok(index)
    }

    /// The time at the start of the stream: from its first global time, which alone never begins anew; else from its first pulse.
    fn start_time(&self) -> Result<i64> {
        let bytes = self.file.start(BLOCK_BYTES as usize)?;
        let mut packets = Packets::default();
        let mut clock = Clock::default();
        let mut pulse = 0;
        for word in bytes.as_chunks().0 {
            match packets.step(u64::from_le_bytes(*word)) {
                Step::Inside(_, Word::Pulse(_, ticks)) if pulse == 0 => pulse = ticks,
                Step::Inside(_, word) => {
                    if let Some(time) = clock.global(word) {
                        return Ok(time);
                    }
                }
                _ => {}
            }
        }
        Ok(pulse)
    }

    fn take(&mut self, word: u64, at: u64, packets: &mut Packets, clock: &mut Clock) {
        let was_between = packets.is_between();
        let step = packets.step(word);
        let is_full = |block: &Block| at - block.start >= BLOCK_BYTES;
        if self.blocks.is_empty()
            || (step == Step::Packet && self.blocks.last().is_some_and(is_full))
        {
            if let Some(block) = self.blocks.last_mut() {
                block.end = at;
            }
            self.blocks.push(Block {
                start: at,
                end: at,
                clock: *clock,
                first: i64::MAX,
                last: i64::MIN,
            });
        }
        let counts = &mut self.counts;
        match step {
            Step::Packet => {
                counts.packets += 1;
                // The packet before was cut short where this one began inside it.
                counts.strays += u64::from(!was_between);
            }
            Step::Stray => counts.strays += 1,
            Step::Inside(chip, Word::Hit(hit)) => {
                counts.hits += 1;
                self.chips.insert(chip);
                let time = clock.unwrap(hit.ticks, HIT_PERIOD);
                self.first_hit = Some(self.first_hit.map_or(time, |first| first.min(time)));
                self.end = self.end.max(time);
                if let Some(block) = self.blocks.last_mut() {
                    block.first = block.first.min(time);
                    block.last = block.last.max(time);
                }
            }
            Step::Inside(chip, Word::Pulse(edge, ticks)) => {
                counts.pulses += 1;
                self.chips.insert(chip);
                let time = clock.unwrap(ticks, PULSE_PERIOD);
                self.end = self.end.max(time);
                self.pulses[edge as usize].push(time);
            }
            Step::Inside(chip, word @ (Word::GlobalLow(_) | Word::GlobalHigh(_))) => {
                counts.global_times += 1;
                self.chips.insert(chip);
                if let Some(time) = clock.global(word) {
                    self.end = self.end.max(time);
                }
            }
            Step::Inside(chip, Word::Other) => {
                counts.others += 1;
                self.chips.insert(chip);
            }
        }
    }

    /// Times of the pulses of an edge, growing.
    pub(super) fn pulses(&self, edge: Edge) -> &[i64] {
        &self.pulses[edge as usize]
    }

    /// Hands each hit from `from` to before `to`, with its chip and time, to a function, in no order.
    pub(super) fn for_each_hit(
        &self,
        from: i64,
        to: i64,
        mut count: impl FnMut(u8, Hit, i64),
    ) -> Result<()> {
        let mut bytes = Vec::new();
        for block in &self.blocks {
            if block.first >= to || block.last < from {
                continue;
            }
            let mut packets = Packets::default();
            let mut clock = block.clock;
            // No longer than a block and the packet that ends it.
            bytes.resize((block.end - block.start) as usize, 0);
            self.file.read_exact_at(&mut bytes, block.start)?;
            for word in bytes.as_chunks().0 {
                let Step::Inside(chip, word) = packets.step(u64::from_le_bytes(*word)) else {
                    continue;
                };
                match word {
                    Word::Hit(hit) => {
                        let time = clock.unwrap(hit.ticks, HIT_PERIOD);
                        if (from..to).contains(&time) {
                            count(chip, hit, time);
                        }
                    }
                    Word::Pulse(_, ticks) => {
                        clock.unwrap(ticks, PULSE_PERIOD);
                    }
                    word => {
                        clock.global(word);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The longest time that is understood, a little below the period of the global time.
pub(super) const LONGEST: i64 = GLOBAL_PERIOD;
