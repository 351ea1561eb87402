//! How is a block of LZ4 decoded?
//!
//! ```text
//! block     sequence | sequence | ... | token and literals
//! sequence  token | more literal length | literals | u16 LE distance | more match length
//! token     high four bits: literals; low four bits: match length less 4; 15 is "and the bytes that follow,
//!           each added, up to one that is not 255"
//! ```
//!
//! A match repeats what lies `distance` bytes before; where it is longer than the distance, it repeats its own
//! start. The planes of detector counts are mostly runs of zeros, that is, matches of distance 1, which is why
//! this decoder treats short distances apart.

/// Bytes that are copied at once where there is room: most literals and matches are shorter, and a copy of a
/// fixed size is a single instruction.
const STRIDE: usize = 16;

/// A match has at least this length.
const SHORTEST_MATCH: usize = 4;

/// Decodes a block into a buffer of its exact size.
///
/// # Errors
///
/// In words, where the block reaches over its own end or that of the buffer, or does not fill the buffer.
pub(crate) fn decode(block: &[u8], out: &mut [u8]) -> Result<(), &'static str> {
    const CUT: &str = "an LZ4 block ends inside a sequence";
    const LONG: &str = "an LZ4 block decodes to more than its size";
    let (mut at, mut to) = (0, 0);
    loop {
        let token = *block.get(at).ok_or(CUT)?;
        at += 1;
        let n = length(block, &mut at, token >> 4).ok_or(CUT)?;
        match (block.get(at..at + STRIDE), out.get_mut(to..to + STRIDE)) {
            (Some(from), Some(into)) if n <= STRIDE => into.copy_from_slice(from),
            _ => {
                let from = at.checked_add(n).and_then(|end| block.get(at..end));
                let into = to.checked_add(n).and_then(|end| out.get_mut(to..end));
                into.ok_or(LONG)?.copy_from_slice(from.ok_or(CUT)?);
            }
        }
        at += n;
        to += n;
        if at == block.len() {
            return match out.len() == to {
                true => Ok(()),
                false => Err("an LZ4 block decodes to less than its size"),
            };
        }
        let distance = block.get(at..at + 2).ok_or(CUT)?;
        let distance = usize::from(u16::from_le_bytes([distance[0], distance[1]]));
        at += 2;
        let n = length(block, &mut at, token & 15).ok_or(CUT)?;
        let end = n
            .checked_add(to + SHORTEST_MATCH)
            .filter(|&end| end <= out.len())
            .ok_or(LONG)?;
        if distance == 0 || distance > to {
            return Err("an LZ4 match begins before the block");
        }
        repeat(out, to, end, distance);
        to = end;
    }
}

/// A length whose first part is four bits of a token; `None` where the block ends inside it.
fn length(block: &[u8], at: &mut usize, start: u8) -> Option<usize> {
    let mut n = usize::from(start);
    if start == 15 {
        loop {
            let more = *block.get(*at)?;
            *at += 1;
            n = n.checked_add(usize::from(more))?;
            if more != 255 {
                break;
            }
        }
    }
    Some(n)
}

/// Fills `to..end` with what lies `distance` before; the caller has checked that all of it is in the buffer.
fn repeat(out: &mut [u8], to: usize, end: usize, distance: usize) {
    let from = to - distance;
    if distance == 1 {
        let byte = out[from];
        out[to..end].fill(byte);
        return;
    }
    // Strides may write over the end of the match, as what follows is written later.
    if distance >= STRIDE && end + STRIDE <= out.len() {
        for start in (to..end).step_by(STRIDE) {
            let source = start - distance;
            out.copy_within(source..source + STRIDE, start);
        }
        return;
    }
    // What is filled doubles with each copy.
    let mut filled = to;
    while filled < end {
        let n = (filled - from).min(end - filled);
        out.copy_within(from..from + n, filled);
        filled += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_an_independent_encoder_come_back() {
        for (n, period, range) in [
            (0, 1, 1),
            (5, 1, 2),
            (70, 1, 1),
            (4096, 3, 256),
            (8192, 24, 2),
            (9000, 700, 9),
            (8192, 16, 4),
        ] {
            let data: Vec<u8> = (0..n as u32)
                .map(|idx| {
                    let noise = (idx / 97 + idx % period).wrapping_mul(2_654_435_761) >> 20;
                    (noise % range) as u8
                })
                .collect();
            let block = lz4_flex::block::compress(&data);
            let mut out = vec![0xaa; data.len()];
            assert_eq!(decode(&block, &mut out), Ok(()), "{n} {period}");
            assert_eq!(out, data, "{n} {period}");
            for len in 0..block.len() {
                assert!(
                    decode(&block[..len], &mut out).is_err(),
                    "{n} {period} {len}"
                );
            }
            assert!(decode(&block, &mut vec![0; n + 1]).is_err());
            if n > 0 {
                assert!(decode(&block, &mut vec![0; n - 1]).is_err());
            }
        }
    }

    #[test]
    fn any_bytes_end_in_an_error_or_where_an_independent_decoder_ends() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        for round in 0..20_000 {
            let block: Vec<u8> = (0..1 + round % 40)
                .map(|_| match random() {
                    // Small numbers make lengths and distances that fit.
                    byte if byte < 128 => byte % 20,
                    byte => byte,
                })
                .collect();
            let mut expected = [0; 64];
            let n = lz4_flex::block::decompress_into(&block, &mut expected).unwrap_or(usize::MAX);
            let mut out = vec![0; n.min(64)];
            let found = decode(&block, &mut out);
            if n <= 64 {
                assert_eq!(found, Ok(()), "{block:?}");
                assert_eq!(out, expected[..n], "{block:?}");
            }
        }
    }
}
