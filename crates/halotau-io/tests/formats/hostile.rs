//! Does a broken file give an error, and never a panic, a hang, or more memory than the file deserves?
//!
//! Each format hands over a small valid specimen. It is cut at every byte of its headers and at the edges of its
//! frames, its header bytes are set to their extremes, bits are flipped, and whole files are noise.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use halotau::series::FrameBlock;
use halotau_io::{OpenRequest, open};

/// What a refusal may take at most; a whole read of a specimen of some kilobytes takes less, too.
const MOST_TIME: Duration = Duration::from_millis(100);

/// Samples of a specimen that are read at most where it opens: a header that claims more is caught by the file's length.
const MOST_BYTES: u64 = 64 << 20;

/// A file of a specimen: its name, its bytes, and how many of them at the start are header.
pub(crate) struct SpecimenFile {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) header_bytes: usize,
}

/// Attacks each file of a specimen in turn, the others unharmed. `main` is the name of the file that is opened.
pub(crate) fn attack(files: &[SpecimenFile], main: &str, request: impl Fn(&Path) -> OpenRequest) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::write(folder.path().join(file.name), &file.bytes).unwrap();
    }
    let request = request(&folder.path().join(main));
    assert!(
        open(&request).is_ok(),
        "the specimen itself: {:?}",
        open(&request).err()
    );
    // Set once when a format is added, to store its specimens for the fuzz targets.
    if let Some(corpus) = std::env::var_os("HALOTAU_CORPUS") {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        crate::fuzz::store(files, &corpus, test.split("::").next().unwrap_or_default());
    }
    for file in files {
        let path = folder.path().join(file.name);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let len = file.bytes.len();
        let try_bytes = |bytes: &[u8], what: &str| {
            // Some file systems flush a file that is written over to the disk at once, which takes milliseconds.
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            survive(&request, &format!("{} {what}", file.name));
        };
        for cut in (0..len.min(file.header_bytes + 2)).chain(len.saturating_sub(3)..len) {
            try_bytes(&file.bytes[..cut], &format!("cut at byte {cut}"));
        }
        for at in 0..len.min(file.header_bytes) {
            for width in [1, 2, 4, 8] {
                for value in [0x00, 0x7f, 0xff, b'9'] {
                    let mut bytes = file.bytes.clone();
                    let end = (at + width).min(len);
                    bytes[at..end].fill(value);
                    try_bytes(&bytes, &format!("bytes {at}..{end} set to {value:#x}"));
                }
            }
        }
        for _ in 0..300 {
            let mut bytes = file.bytes.clone();
            let at = random() as usize % len.max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (random() % 8);
            }
            try_bytes(&bytes, &format!("bit flipped in byte {at}"));
        }
        for round in 0..30 {
            let keep = if round % 2 == 0 { 0 } else { 16.min(len) };
            let mut bytes = file.bytes[..keep].to_vec();
            bytes.extend((keep..len.max(keep + 64)).map(|_| random() as u8));
            try_bytes(&bytes, &format!("noise after byte {keep}"));
        }
        fs::write(&path, &file.bytes).unwrap();
    }
}

/// Opens and, where that works, reads; either may fail, but soon and with a message.
pub(crate) fn survive(request: &OpenRequest, what: &str) {
    let start = Instant::now();
    match open(request) {
        Err(error) => assert!(error.to_string().len() > 20, "{what}: {error}"),
        Ok(source) => {
            let header = source.header();
            let n_bytes = header.shape.n_bytes(header.sample_type);
            if n_bytes.is_some_and(|n| n <= MOST_BYTES) {
                let mut block = FrameBlock::empty(header.sample_type);
                if let Err(error) = source.read(&header.shape.whole(), &mut block) {
                    assert!(error.to_string().len() > 20, "{what}: {error}");
                }
            }
        }
    }
    // Machines that run tests are loaded, and a pause of the scheduler is no hang.
    let took = start.elapsed();
    assert!(took < 50 * MOST_TIME, "{what}: {took:?}");
}
