//! How are frames of equal size read from a file in which they follow at a fixed distance?
//!
//! ```text
//! start | before · frame · after | before · frame · after | ...
//! ```

use std::ops::Range;

use crate::error::Result;
use crate::positioned::PositionedFile;

/// Bytes read at once: large against a request's cost, small against the caches that the decoding goes through.
const PIECE_BYTES: u64 = 1 << 20;

/// Records of equal length in a file.
#[derive(Debug)]
pub(crate) struct StridedFile {
    file: PositionedFile,
    start: u64,
    stride: u64,
    /// Bytes of a record that hold something; the rest is padding, which the last record may lack.
    used: u64,
    n_records: u64,
}

impl StridedFile {
    /// All whole records of a file from an offset on. `stride` is at least 1.
    pub(crate) fn new(file: PositionedFile, start: u64, stride: u64) -> Self {
        Self::padded(file, start, stride, stride)
    }

    /// Records of which only the first bytes are used. `stride` and `used` are at least 1.
    pub(crate) fn padded(file: PositionedFile, start: u64, stride: u64, used: u64) -> Self {
        let stride = stride.max(1);
        let used = used.clamp(1, stride);
        let data = file.len().saturating_sub(start);
        let n_records = match data.checked_sub(used) {
            Some(after_first) => after_first / stride + 1,
            None => 0,
        };
        Self {
            file,
            start,
            stride,
            used,
            n_records,
        }
    }

    /// The same file with fewer records, where a header says that the rest of the file holds none.
    pub(crate) fn at_most(self, n_records: u64) -> Self {
        Self {
            n_records: self.n_records.min(n_records),
            ..self
        }
    }

    pub(crate) fn file(&self) -> &PositionedFile {
        &self.file
    }

    /// Whole records.
    pub(crate) fn n_records(&self) -> u64 {
        self.n_records
    }

    /// Bytes after the last whole record.
    pub(crate) fn n_bytes_left(&self) -> u64 {
        let data = self.file.len().saturating_sub(self.start);
        data.saturating_sub(self.n_records * self.stride)
    }

    /// Hands the bytes of each record, without padding, to a function, in order.
    pub(crate) fn for_each(
        &self,
        records: Range<u64>,
        mut decode: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let per_piece = (PIECE_BYTES / self.stride).max(1);
        let most = per_piece.min(records.end.saturating_sub(records.start));
        // No longer than the file, which exists, so that this is a number of bytes in memory.
        let len = |n: u64| (n.saturating_sub(1) * self.stride + self.used) as usize;
        let stride = self.stride.min(self.file.len()).max(1) as usize;
        let used = self.used as usize;
        let mut bytes = vec![0_u8; if most == 0 { 0 } else { len(most) }];
        let mut record = records.start;
        while record < records.end {
            let n = per_piece.min(records.end - record);
            let piece = &mut bytes[..len(n)];
            self.file
                .read_exact_at(piece, self.start + record * self.stride)?;
            for one in piece.chunks(stride) {
                decode(&one[..used])?;
            }
            record += n;
        }
        Ok(())
    }

    /// Has records fetched that [`Self::for_each`] will go through.
    pub(crate) fn expect(&self, records: Range<u64>) {
        if let Some(last) = records
            .end
            .checked_sub(1)
            .filter(|&last| records.start <= last)
        {
            let of = |record: u64| {
                self.start
                    .saturating_add(record.saturating_mul(self.stride))
            };
            let end = of(last).saturating_add(self.used);
            self.file.expect(of(records.start), end - of(records.start));
        }
    }

    /// Bytes of one record from `within` on.
    pub(crate) fn part(&self, record: u64, within: u64, n_bytes: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; n_bytes];
        self.file
            .read_exact_at(&mut bytes, self.start + record * self.stride + within)?;
        Ok(bytes)
    }
}

/// Several files whose records are numbered through.
#[derive(Debug)]
pub(crate) struct StridedFiles {
    /// With the number of the first record of each.
    files: Vec<(u64, StridedFile)>,
    n_records: u64,
}

impl StridedFiles {
    pub(crate) fn new(files: Vec<StridedFile>) -> Self {
        let mut n_records = 0;
        let files = files
            .into_iter()
            .map(|file| {
                let first = n_records;
                n_records += file.n_records();
                (first, file)
            })
            .collect();
        Self { files, n_records }
    }

    pub(crate) fn n_records(&self) -> u64 {
        self.n_records
    }

    /// Each file and the number of its first record.
    pub(crate) fn files(&self) -> &[(u64, StridedFile)] {
        &self.files
    }

    /// Hands the bytes of each record to a function, in order.
    pub(crate) fn for_each(
        &self,
        records: Range<u64>,
        mut decode: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        for (first, file) in &self.files {
            let start = records.start.max(*first);
            let end = records.end.min(first + file.n_records());
            if start < end {
                file.for_each(start - first..end - first, &mut decode)?;
            }
        }
        Ok(())
    }

    /// Has records fetched that [`Self::for_each`] will go through.
    pub(crate) fn expect(&self, records: Range<u64>) {
        for (first, file) in &self.files {
            let start = records.start.max(*first);
            let end = records.end.min(first + file.n_records());
            if start < end {
                file.expect(start - first..end - first);
            }
        }
    }

    /// The file that holds a record, and the record's number in it.
    pub(crate) fn find(&self, record: u64) -> Option<(&StridedFile, u64)> {
        let after = self.files.partition_point(|(first, _)| *first <= record);
        let (first, file) = self.files.get(after.checked_sub(1)?)?;
        let within = record - first;
        (within < file.n_records()).then_some((file, within))
    }
}
