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
    n_records: u64,
}

impl StridedFile {
    /// All whole records of a file from an offset on. `stride` is at least 1.
    pub(crate) fn new(file: PositionedFile, start: u64, stride: u64) -> Self {
        let stride = stride.max(1);
        let n_records = file.len().saturating_sub(start) / stride;
        Self {
            file,
            start,
            stride,
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

    /// Hands the bytes of each record to a function, in order.
    pub(crate) fn for_each(
        &self,
        records: Range<u64>,
        mut decode: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let per_piece = (PIECE_BYTES / self.stride).max(1);
        // A record is no longer than its file, which exists, so its length is a number of bytes in memory.
        let stride = self.stride as usize;
        let most = per_piece.min(records.end.saturating_sub(records.start)) as usize;
        let mut bytes = vec![0_u8; most * stride];
        let mut record = records.start;
        while record < records.end {
            let n = per_piece.min(records.end - record);
            let piece = &mut bytes[..n as usize * stride];
            self.file
                .read_exact_at(piece, self.start + record * self.stride)?;
            for one in piece.chunks_exact(stride) {
                decode(one)?;
            }
            record += n;
        }
        Ok(())
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

    /// The file that holds a record, and the record's number in it.
    pub(crate) fn find(&self, record: u64) -> Option<(&StridedFile, u64)> {
        let after = self.files.partition_point(|(first, _)| *first <= record);
        let (first, file) = self.files.get(after.checked_sub(1)?)?;
        let within = record - first;
        (within < file.n_records()).then_some((file, within))
    }
}
