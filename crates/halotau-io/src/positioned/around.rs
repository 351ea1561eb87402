//! How is a large file read as fast as its disk?
//!
//! ```text
//! expect ─▶ queue ─▶ two threads, direct requests ─▶ fetched ranges ─▶ read: a copy, no waiting
//! ```
//!
//! A read through the page cache costs a copy, and the system's book-keeping of pages that are needed once: half of what the disk
//! gives, and more processor time than the sums over the frames. So what is not in the cache is read around it, in direct requests whose
//! memory and offsets are multiples of a page. What was expected is fetched while others work; the number of bytes that wait is bounded.
//!
//! What is in the cache is read from there, which is faster than any disk. Nobody can ask which pages these are but by a read that
//! returns rather than waits; of each range one page is asked for. Such a question puts that page into the cache, so the page is drawn
//! anew in each process: else the next one would take the answer for the whole range's.
//!
//! All of this may fail (file systems refuse direct requests, or cannot say what is cached); then the file is read as any other, which also
//! is who tells of a broken disk. No result depends on it.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Smaller files are read through the cache: they fit there, and are often read again.
const SMALL_FILE: u64 = 1 << 30;

/// What a smaller request costs beside its bytes is more than the cache costs.
const LEAST_REQUEST: usize = 128 << 10;

/// Larger reads are made of requests of this size, as large as disks take at once.
const MOST_REQUEST: usize = 8 << 20;

/// Bytes that are fetched and not yet read, at most: that of the largest reading buffer, which plans count twice.
const MOST_FETCHED: u64 = 256 << 20;

/// One thread waits for the disk while another hands over; a disk that is faster with more requests gets them from several ranges.
const MOST_FETCHERS: usize = 2;

/// A range of which the end was read is done with where no more than one part in so many was not read: threads read parts of a range
/// in any order, and headers of frames may be skipped.
const MOST_SKIPPED: u64 = 8;

/// Offsets and memory of direct requests are multiples of this: no disk has larger sectors.
const PAGE: usize = 4096;

/// A file read around the page cache, as far as it is not there.
#[derive(Debug)]
pub(super) struct Around {
    least_len: u64,
    fetched: OnceLock<Option<Arc<Fetched>>>,
}

impl Around {
    pub(super) fn new() -> Self {
        Self::of_files_from(SMALL_FILE)
    }

    fn of_files_from(least_len: u64) -> Self {
        Self {
            least_len,
            fetched: OnceLock::new(),
        }
    }

    /// Fetches a range that will be read. `false` where the file is read through the cache.
    pub(super) fn expect(&self, file: &File, offset: u64, len: u64) -> bool {
        let Some(fetched) = self.fetched(file) else {
            return false;
        };
        // Nothing to do where the range is in the cache already.
        if len >= LEAST_REQUEST as u64
            && len < MOST_FETCHED
            && !fetched.is_cached(file, offset, len)
        {
            fetched.expect(offset, len);
        }
        true
    }

    /// Fills a buffer. `false` where that is left to a read through the cache.
    pub(super) fn read(&self, file: &File, buffer: &mut [u8], offset: u64) -> bool {
        let Some(fetched) = self.fetched(file) else {
            return false;
        };
        if fetched.take(buffer, offset) {
            return true;
        }
        buffer.len() >= LEAST_REQUEST
            && !fetched.is_cached(file, offset, buffer.len() as u64)
            && fetched.read(buffer, offset)
    }

    fn fetched(&self, file: &File) -> Option<&Arc<Fetched>> {
        let fetched = self.fetched.get_or_init(|| {
            let len = file.metadata().ok()?.len();
            (len >= self.least_len).then(|| Fetched::open(file).ok().map(Arc::new))?
        });
        fetched.as_ref().filter(|fetched| !fetched.failed())
    }
}

/// Ranges of a file that are expected, and those that are there.
#[derive(Debug)]
struct Fetched {
    direct: File,
    /// Set by the first request that fails: from then on the file is read as any other.
    failed: AtomicBool,
    random: RandomState,
    n_drawn: AtomicU64,
    state: Mutex<State>,
    /// A range is there, or never will be.
    landed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they were expected.
    ranges: Vec<Range>,
    /// Buffers of ranges that were read: new memory would have to be cleared by the system.
    spare: Vec<Aligned>,
    n_fetchers: usize,
}

#[derive(Debug)]
struct Range {
    start: u64,
    end: u64,
    /// Bytes that nobody has read yet.
    n_left: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Queued,
    Fetching,
    There(Arc<Aligned>),
}

impl Fetched {
    /// The same file once more, for direct requests.
    fn open(file: &File) -> std::io::Result<Self> {
        // By its number: the name may belong to another file by now.
        let direct = File::options()
            .read(true)
            .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Self {
            direct,
            failed: AtomicBool::new(false),
            random: RandomState::new(),
            n_drawn: AtomicU64::new(0),
            state: Mutex::default(),
            landed: Condvar::new(),
        })
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one page of a range is in the cache; so it is said where the system cannot tell.
    fn is_cached(&self, file: &File, offset: u64, len: u64) -> bool {
        let drawn = self.n_drawn.fetch_add(1, Ordering::Relaxed);
        let at = offset + self.random.hash_one(drawn) % len.max(1);
        let mut byte = [0];
        let found = rustix::io::preadv2(
            file,
            &mut [IoSliceMut::new(&mut byte)],
            at,
            rustix::io::ReadWriteFlags::NOWAIT,
        );
        found != Err(rustix::io::Errno::AGAIN)
    }

    fn expect(self: &Arc<Self>, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let mut state = self.state();
        if state.find(offset, end).is_some() {
            return;
        }
        // What was expected and not read for long is expected no more.
        while state.bytes().saturating_add(len) > MOST_FETCHED {
            let there = |range: &Range| !matches!(range.stage, Stage::Fetching);
            let Some(oldest) = state.ranges.iter().position(there) else {
                return;
            };
            state.ranges.remove(oldest);
        }
        state.ranges.push(Range {
            start: offset,
            end,
            n_left: len,
            stage: Stage::Queued,
        });
        if state.n_fetchers < MOST_FETCHERS {
            let own = Arc::clone(self);
            let fetcher = std::thread::Builder::new().name("halotau-fetch".to_owned());
            // Without a thread, whoever reads the range fetches it.
            if fetcher.spawn(move || own.fetch()).is_ok() {
                state.n_fetchers += 1;
            }
        }
    }

    /// Fetches until nothing is queued.
    fn fetch(&self) {
        let mut state = self.state();
        while let Some(at) = state.ranges.iter().position(Range::is_queued) {
            state = self.fetch_one(state, at);
        }
        state.n_fetchers -= 1;
    }

    /// Fetches a queued range; it is gone afterwards where that failed.
    fn fetch_one<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        at: usize,
    ) -> MutexGuard<'a, State> {
        let range = &mut state.ranges[at];
        range.stage = Stage::Fetching;
        let (start, end) = (range.start, range.end);
        let mut buffer = state.spare.pop().unwrap_or_default();
        drop(state);
        let there = self.request(&mut buffer, start, (end - start) as usize);
        let mut state = self.state();
        let at = state
            .ranges
            .iter()
            .position(|range| (range.start, range.end) == (start, end));
        match at {
            Some(at) if there => state.ranges[at].stage = Stage::There(Arc::new(buffer)),
            Some(at) => {
                state.ranges.remove(at);
            }
            None => {}
        }
        self.landed.notify_all();
        state
    }

    /// Fills a buffer from an expected range, waiting for it; `false` where there is none.
    fn take(&self, buffer: &mut [u8], offset: u64) -> bool {
        let end = offset.saturating_add(buffer.len() as u64);
        let mut state = self.state();
        let (there, start) = loop {
            let Some(at) = state.find(offset, end) else {
                return false;
            };
            let range = &state.ranges[at];
            match &range.stage {
                Stage::Queued => state = self.fetch_one(state, at),
                Stage::Fetching => {
                    state = self
                        .landed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Stage::There(there) => {
                    let found = (Arc::clone(there), range.start);
                    let n_left = range.n_left.saturating_sub(buffer.len() as u64);
                    let is_end = range.end == end && n_left <= (end - range.start) / MOST_SKIPPED;
                    state.ranges[at].n_left = n_left;
                    if is_end || n_left == 0 {
                        state.ranges.remove(at);
                    }
                    break found;
                }
            }
        };
        drop(state);
        buffer.copy_from_slice(&there.bytes()[(offset - start) as usize..][..buffer.len()]);
        if let Ok(spare) = Arc::try_unwrap(there) {
            self.state().spare.push(spare);
        }
        true
    }

    /// Fills a buffer that nobody expected to be read.
    fn read(&self, buffer: &mut [u8], offset: u64) -> bool {
        let mut own = self.state().spare.pop().unwrap_or_default();
        let pieces = (offset..).step_by(MOST_REQUEST);
        let done = buffer
            .chunks_mut(MOST_REQUEST)
            .zip(pieces)
            .all(|(piece, at)| {
                let there = self.request(&mut own, at, piece.len());
                if there {
                    piece.copy_from_slice(&own.bytes()[..piece.len()]);
                }
                there
            });
        self.state().spare.push(own);
        done
    }

    /// Fills memory with a range of the file; `false` where that failed or the file has become shorter.
    fn request(&self, buffer: &mut Aligned, offset: u64, len: usize) -> bool {
        let before = offset % PAGE as u64;
        let wanted = before as usize + len;
        let memory = buffer.make(before as usize, wanted.next_multiple_of(PAGE));
        let mut filled = 0;
        while filled < wanted {
            let at = offset - before + filled as u64;
            match self.direct.read_at(&mut memory[filled..], at) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // What is no multiple of a page is the end of the file.
                Ok(n) if n > 0 && (n % PAGE == 0 || filled + n >= wanted) => filled += n,
                Ok(_) | Err(_) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return false;
                }
            }
        }
        true
    }
}

impl State {
    /// The range that holds some bytes.
    fn find(&self, start: u64, end: u64) -> Option<usize> {
        self.ranges
            .iter()
            .position(|range| range.start <= start && end <= range.end)
    }

    fn bytes(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }
}

impl Range {
    fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued)
    }
}

/// Memory that starts at a multiple of a page, cut from some more.
#[derive(Debug, Default)]
struct Aligned {
    memory: Vec<u8>,
    /// Where in the memory the bytes start that were asked for.
    start: usize,
}

impl Aligned {
    /// Room for a request of which the first bytes are not asked for.
    fn make(&mut self, before: usize, len: usize) -> &mut [u8] {
        if self.memory.len() < len + PAGE {
            self.memory = vec![0; len + PAGE];
        }
        let first = self.memory.as_ptr().align_offset(PAGE);
        self.start = first + before;
        &mut self.memory[first..first + len]
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file that is not in the page cache, where the file system lets go of it.
    fn file(len: usize) -> (Vec<u8>, File) {
        let mut bytes = vec![0; len];
        let mut number = 1_u32;
        bytes.fill_with(|| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 24) as u8
        });
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&bytes).unwrap();
        file.sync_all().unwrap();
        let all = std::num::NonZeroU64::new(len as u64);
        rustix::fs::fadvise(&file, 0, all, rustix::fs::Advice::DontNeed).unwrap();
        (bytes, file)
    }

    fn exactly(around: &Around, file: &File, buffer: &mut [u8], offset: u64) {
        if !around.read(file, buffer, offset) {
            file.read_exact_at(buffer, offset).unwrap();
        }
    }

    #[test]
    fn bytes_are_those_of_the_file_whether_expected_or_not() {
        let (bytes, file) = file((3 << 20) + 777);
        let around = Around::of_files_from(0);
        let ranges = [
            // In the middle, at a page, and to the end, which is no multiple of anything.
            (128, 700_001),
            (1 << 20, 1 << 20),
            ((2 << 20) + 5, (1 << 20) + 772),
            // Too small to be worth a request.
            (10, 100),
        ];
        std::thread::scope(|scope| {
            for (number, &(start, len)) in ranges.iter().enumerate() {
                let (around, file, bytes) = (&around, &file, &bytes);
                if number != 1 {
                    around.expect(file, start, len);
                }
                scope.spawn(move || {
                    // Piece by piece, of which the last is shorter.
                    let end = start + len;
                    for at in (start..end).step_by(300_000) {
                        let mut piece = vec![0; 300_000.min((end - at) as usize)];
                        exactly(around, file, &mut piece, at);
                        assert!(piece == bytes[at as usize..][..piece.len()], "{start} {at}");
                    }
                });
            }
        });
        if let Some(fetched) = around.fetched(&file) {
            assert_eq!(fetched.state().ranges.len(), 0);
        }
    }

    #[test]
    fn what_nobody_reads_makes_room() {
        let (bytes, file) = file(2 << 20);
        let around = Around::of_files_from(0);
        let Some(fetched) = around.fetched(&file) else {
            return;
        };
        // Queued ranges only: whoever reads one fetches it.
        fetched.state().n_fetchers = MOST_FETCHERS;
        let len = (1 << 20) + 1;
        let n = MOST_FETCHED / len;
        for offset in 0..n + 5 {
            fetched.expect(offset, len);
        }
        assert_eq!(fetched.state().ranges.len() as u64, n);
        assert_eq!(fetched.state().ranges[0].start, 5);
        let mut buffer = vec![0; len as usize];
        assert!(fetched.take(&mut buffer, 7));
        assert!(buffer == bytes[7..][..buffer.len()]);
        assert!(!fetched.take(&mut buffer, 3));
    }

    #[test]
    fn a_range_beyond_the_end_is_left_to_an_ordinary_read() {
        let (_, file) = file(1 << 20);
        let around = Around::of_files_from(0);
        around.expect(&file, 900_000, 1 << 20);
        let mut buffer = vec![0; 1 << 20];
        assert!(!around.read(&file, &mut buffer, 900_000));
        // Small files are read through the cache from the start.
        assert!(!Around::new().expect(&file, 0, 1 << 20));
    }
}
