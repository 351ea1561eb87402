//! Which number stands at which byte of a header?

/// The bytes of a header, and in which order those of a number are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Fields<'a> {
    /// A header whose numbers have the least significant byte first.
    pub(super) fn little_endian(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            big_endian: false,
        }
    }

    /// A header in either order.
    pub(super) fn ordered(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { bytes, big_endian }
    }

    /// Bytes from `at` on, `None` where the header ends before them.
    pub(super) fn slice(&self, at: usize, n_bytes: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(n_bytes)?)
    }

    fn word<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut word: [u8; N] = *self.slice(at, N)?.first_chunk()?;
        if self.big_endian {
            word.reverse();
        }
        Some(word)
    }

    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        self.word(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        self.word(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, at: usize) -> Option<u64> {
        self.word(at).map(u64::from_le_bytes)
    }

    pub(super) fn f64(&self, at: usize) -> Option<f64> {
        self.word(at).map(f64::from_le_bytes)
    }
}
