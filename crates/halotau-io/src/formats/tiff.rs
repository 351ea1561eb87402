//! How does a TIFF file hold frames?
//!
//! ```text
//! usual:   header | page directory · strips of pixels | page directory · strips of pixels | ...
//! ImageJ:  header | one page directory | frame | frame | frame | ...       "images=7200" in its description
//! ```
//!
//! Each page is a frame; BigTIFF (64-bit offsets) and both byte orders are read. Uncompressed pages are copied from where
//! they are, compressed ones are decoded page by page. Stacks of ImageJ above 4 GB have one directory only, so that the
//! description and the length of the file tell how many frames follow each other.

mod description;
mod pages;

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use halotau::series::{FrameCount, SampleType, Samples, Warning};

use self::description::Description;
use self::pages::{Chain, Page};
use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::sample_bytes::{copy_at, copy_samples};
use crate::stream::strided::StridedFile;
use crate::stream::{FrameStream, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "TIFF",
    recognize,
    open,
};

/// Bytes of a buffer for the decoder, which asks for a few at a time.
const BUFFER_BYTES: usize = 1 << 16;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    Chain::order(probe.start).map(|_| probe.path.to_owned())
}

struct Stack {
    header: StreamHeader,
    big_endian: bool,
    frames: Frames,
}

/// Where the frames are.
enum Frames {
    /// One after another.
    Contiguous(StridedFile),
    /// Each where its page says.
    Pages(PositionedFile, Chain),
}

fn open(path: &Path, _request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    };
    let file = PositionedFile::open(path)?;
    let chain = Chain::read(&file)?;
    let Some(&first) = chain.pages.first() else {
        return Err(bad("it has no whole page".to_owned()));
    };
    let frame_bytes = first.frame_bytes;
    let description = Description::parse(&chain.description);
    let n_pages = chain.pages.len() as u64;
    let big_endian = chain.big_endian;
    let end = chain.end.clone();
    let frames = match (description.n_frames, first.data) {
        (Some(n_frames), Some(start)) if n_frames > n_pages && n_pages == 1 => {
            let frames = StridedFile::new(file, start, frame_bytes);
            Frames::Contiguous(frames.at_most(n_frames))
        }
        _ => Frames::Pages(file, chain),
    };
    let n_frames = match &frames {
        Frames::Contiguous(frames) => frames.n_records(),
        Frames::Pages(..) => n_pages,
    };
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_frames as usize,
        (first.n_rows as usize, first.n_cols as usize),
        first.sample_type,
    );
    let series = &mut header.series;
    series.frame_counts = vec![match &frames {
        Frames::Contiguous(_) => FrameCount::new(n_frames, "length of the file"),
        Frames::Pages(..) => FrameCount::new(n_frames, "pages"),
    }];
    if let Some(stated) = description.n_frames {
        series
            .frame_counts
            .push(FrameCount::new(stated, "description of the first page"));
    }
    if let Some(end) = end {
        series.warnings.push(Warning::new(
            "W122",
            format!(
                "The pages end too early: {end}. The {n_frames} before it are read. Is the file complete?"
            ),
        ));
    }
    let page = (u64::from(first.n_rows), u64::from(first.n_cols));
    header.scan = description.scan(page, n_frames, &mut header.series);
    Ok(Box::new(Stack {
        header,
        big_endian,
        frames,
    }))
}

impl FrameStream for Stack {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let frame_len = self.header.series.shape.frame_len();
        match &self.frames {
            Frames::Contiguous(file) => file.for_each(frames, |frame| {
                copy_at(samples, at, frame, self.big_endian);
                at += frame_len;
                Ok(())
            }),
            Frames::Pages(file, chain) => {
                let mut bytes = Vec::new();
                for frame in frames {
                    let page = &chain.pages[frame as usize];
                    match page.data {
                        Some(start) => {
                            // As long as the part of the file that was found whole when it was opened.
                            bytes.resize(page.frame_bytes as usize, 0);
                            file.read_exact_at(&mut bytes, start)?;
                            copy_at(samples, at, &bytes, self.big_endian);
                        }
                        None => {
                            decode(file, chain, page, frame, samples, at)?;
                        }
                    }
                    at += frame_len;
                }
                Ok(())
            }
        }
    }

    fn expect(&self, frames: Range<u64>) {
        if let Frames::Contiguous(file) = &self.frames {
            file.expect(frames);
        }
    }
}

/// Decodes a compressed page into samples from `at` on.
fn decode(
    file: &PositionedFile,
    chain: &Chain,
    page: &Page,
    frame: u64,
    samples: &mut Samples,
    at: usize,
) -> Result<()> {
    let corrupt = |problem: String| Error::Corrupt {
        path: file.path().to_owned(),
        dataset: "the stack".to_owned(),
        place: format!("page {frame}"),
        problem,
    };
    let reader = BufReader::with_capacity(BUFFER_BYTES, PageReader::new(file, chain, page)?);
    let frame_bytes = page.frame_bytes as usize;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = frame_bytes;
    let mut decoder = Decoder::new(reader)
        .map_err(|e| corrupt(e.to_string()))?
        .with_limits(limits);
    let decoded = decoder.read_image().map_err(|e| corrupt(e.to_string()))?;
    let decoded = match decoded {
        DecodingResult::U8(values) => Samples::U8(values),
        DecodingResult::U16(values) => Samples::U16(values),
        DecodingResult::U32(values) => Samples::U32(values),
        DecodingResult::I16(values) => Samples::I16(values),
        DecodingResult::I32(values) => Samples::I32(values),
        DecodingResult::F32(values) => Samples::F32(values),
        DecodingResult::F64(values) => Samples::F64(values),
        _ => {
            return Err(corrupt(
                "it has another number type than it says".to_owned(),
            ));
        }
    };
    let n_bytes = decoded.len() * decoded.sample_type().n_bytes();
    if decoded.sample_type() != samples.sample_type() || n_bytes != frame_bytes {
        return Err(corrupt(format!(
            "it has {} samples of {}",
            decoded.len(),
            decoded.sample_type()
        )));
    }
    copy_samples(samples, at, &decoded);
    Ok(())
}

/// The file as if one of its pages were the first, so that a decoder finds it without walking through the others.
struct PageReader<'a> {
    file: &'a PositionedFile,
    /// Takes the place of the first bytes.
    header: Vec<u8>,
    at: u64,
}

impl<'a> PageReader<'a> {
    fn new(file: &'a PositionedFile, chain: &Chain, page: &Page) -> Result<Self> {
        Ok(Self {
            header: chain.header_for(&file.start(16)?, page),
            file,
            at: 0,
        })
    }
}

impl Read for PageReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let from_header = self.header.get(self.at as usize..).unwrap_or_default();
        let n = if from_header.is_empty() {
            let left = self.file.len().saturating_sub(self.at);
            let n = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            self.file
                .read_exact_at(&mut buffer[..n], self.at)
                .map_err(std::io::Error::other)?;
            n
        } else {
            let n = from_header.len().min(buffer.len());
            buffer[..n].copy_from_slice(&from_header[..n]);
            n
        };
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for PageReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The number type of samples of so many bits, 1 unsigned, 2 signed, 3 floating point.
fn sample_type(bits: u64, format: u64) -> Option<SampleType> {
    Some(match (format, bits) {
        (1, 8) => SampleType::U8,
        (1, 16) => SampleType::U16,
        (1, 32) => SampleType::U32,
        (2, 16) => SampleType::I16,
        (2, 32) => SampleType::I32,
        (3, 32) => SampleType::F32,
        (3, 64) => SampleType::F64,
        _ => return None,
    })
}
