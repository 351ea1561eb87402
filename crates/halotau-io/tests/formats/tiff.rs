//! TIFF stacks that the test writes itself.

use std::path::Path;

use halotau::series::SampleType;
use halotau_io::{OpenRequest, open};
use tiff::encoder::colortype::Gray16;
use tiff::encoder::{Compression, TiffEncoder};

use crate::hostile::{SpecimenFile, attack};
use crate::reading::{for_other_readers, read_all, shaped};

/// Pages of 2 rows and 3 columns; sample = 6 · page + place, of `bits` bits and a format (1 unsigned, 2 signed, 3 float).
struct Stack {
    big_endian: bool,
    is_big: bool,
    bits: u16,
    format: u16,
    n_pages: u64,
    /// Frames that follow the last page without a page of their own.
    n_more: u64,
    description: &'static str,
}

impl Stack {
    fn bytes(&self) -> Vec<u8> {
        let number = |value: u64, width: usize| -> Vec<u8> {
            let mut bytes = value.to_le_bytes()[..width].to_vec();
            if self.big_endian {
                bytes.reverse();
            }
            bytes
        };
        let wide = if self.is_big { 8 } else { 4 };
        let mut bytes = if self.big_endian { b"MM" } else { b"II" }.to_vec();
        bytes.extend(number(if self.is_big { 43 } else { 42 }, 2));
        if self.is_big {
            bytes.extend(number(8, 2));
            bytes.extend(number(0, 2));
        }
        let text = bytes.len() + wide;
        bytes.extend(number((text + self.description.len() + 1) as u64, wide));
        bytes.extend(self.description.as_bytes());
        bytes.push(0);
        let frame_bytes = 6 * u64::from(self.bits / 8);
        for page in 0..self.n_pages {
            let entries = [
                (256, 3, 1, 3),
                (257, 3, 1, 2),
                (258, 3, 1, self.bits.into()),
                (259, 3, 1, 1),
                (262, 3, 1, 1),
                (270, 2, self.description.len() as u64 + 1, text as u64),
                (273, 4, 1, 0),
                (277, 3, 1, 1),
                (278, 3, 1, 2),
                (279, 4, 1, frame_bytes),
                (339, 3, 1, self.format.into()),
            ];
            let count_bytes = if self.is_big { 8 } else { 2 };
            let directory = count_bytes + entries.len() * (4 + 2 * wide) + wide;
            let data = (bytes.len() + directory) as u64;
            bytes.extend(number(entries.len() as u64, count_bytes));
            for (tag, kind, count, value) in entries {
                bytes.extend(number(tag, 2));
                bytes.extend(number(kind, 2));
                bytes.extend(number(count, wide));
                let value = if tag == 273 { data } else { value };
                let width = if kind == 3 { 2 } else { 4.min(wide) };
                let width = if kind == 2 && count > wide as u64 {
                    wide
                } else {
                    width
                };
                let mut value = number(value, width);
                value.resize(wide, 0);
                bytes.extend(value);
            }
            let is_last = page + 1 == self.n_pages;
            let next = if is_last { 0 } else { data + frame_bytes };
            bytes.extend(number(next, wide));
            let n = if is_last { 1 + self.n_more } else { 1 };
            for sample in page * 6..(page + n) * 6 {
                let raw = match (self.format, self.bits) {
                    (3, 32) => u64::from((sample as f32).to_bits()),
                    _ => sample,
                };
                bytes.extend(number(raw, usize::from(self.bits / 8)));
            }
        }
        bytes
    }
}

const PLAIN: Stack = Stack {
    big_endian: false,
    is_big: false,
    bits: 16,
    format: 1,
    n_pages: 6,
    n_more: 0,
    description: "",
};

fn counted(n: u32) -> Vec<f64> {
    (0..n).map(f64::from).collect()
}

#[test]
fn pages_of_every_kind_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.tif");
    for (big_endian, is_big) in [(false, false), (true, false), (false, true), (true, true)] {
        for (bits, format, sample_type) in [
            (8, 1, SampleType::U8),
            (16, 1, SampleType::U16),
            (32, 1, SampleType::U32),
            (16, 2, SampleType::I16),
            (32, 3, SampleType::F32),
        ] {
            let stack = Stack {
                big_endian,
                is_big,
                bits,
                format,
                ..PLAIN
            };
            std::fs::write(&path, stack.bytes()).unwrap();
            let (source, samples) = read_all(&shaped(&path, [1, 2, 3, 0, 0]));
            assert_eq!(source.header().sample_type, sample_type);
            assert_eq!(samples, counted(36), "{bits} bits, format {format}");
        }
    }
}

#[test]
fn stacks_of_imagej_and_tifffile_state_their_axes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.tif");
    let imagej = Stack {
        big_endian: true,
        n_pages: 1,
        n_more: 11,
        description: "ImageJ=1.54f\nimages=12\nchannels=3\nslices=2\nframes=2\nhyperstack=true\n",
        ..PLAIN
    };
    std::fs::write(&path, imagej.bytes()).unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (2, 2, 3));
    assert_eq!(samples, counted(72));
    // Cut short: whole frames stay, the others are missing.
    let bytes = imagej.bytes();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(source.header().missing[0].first_frame, 5);
    assert_eq!(samples[..66], counted(66));

    let tifffile = Stack {
        description: "{\"shape\": [2, 3, 2, 3]}",
        ..PLAIN
    };
    std::fs::write(&path, tifffile.bytes()).unwrap();
    let (source, _) = read_all(&OpenRequest::new(&path));
    let shape = source.header().shape;
    assert_eq!((shape.n_times, shape.n_rows, shape.n_cols), (1, 2, 3));
    assert_eq!(source.header().warnings[0].code, "W120");
}

#[test]
fn compressed_pages_are_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.tif");
    for compression in [
        Compression::Lzw,
        Compression::Packbits,
        Compression::Deflate(Default::default()),
    ] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes)
            .unwrap()
            .with_compression(compression);
        for page in 0..4_u16 {
            let samples: Vec<u16> = (0..600).map(|place| page * 600 + place).collect();
            encoder.write_image::<Gray16>(20, 30, &samples).unwrap();
        }
        std::fs::write(&path, bytes.into_inner()).unwrap();
        let (_, samples) = read_all(&shaped(&path, [1, 2, 2, 0, 0]));
        assert_eq!(samples, counted(2400));
    }
}

#[test]
fn a_folder_of_single_frames_is_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |value: u8| {
        let one = Stack {
            n_pages: 1,
            bits: 8,
            ..PLAIN
        };
        let mut bytes = one.bytes();
        let last = bytes.len() - 1;
        bytes[last] = value;
        bytes
    };
    for frame in 0..12 {
        std::fs::write(folder.path().join(format!("f{frame}.tif")), bytes(frame)).unwrap();
    }
    let lasts = |path: &Path| -> Vec<f64> {
        let samples = read_all(&shaped(path, [2, 2, 3, 0, 0])).1;
        samples.iter().skip(5).step_by(6).copied().collect()
    };
    assert_eq!(lasts(folder.path()), counted(12));
}

#[test]
fn pictures_beside_a_recording_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("haadf.tif"), PLAIN.bytes()).unwrap();
    let scan = crate::blo::block_file(1, 2, &[1, 2]);
    std::fs::write(folder.path().join("scan.blo"), scan).unwrap();
    let (source, _) = read_all(&OpenRequest::new(folder.path()));
    assert_eq!(source.header().shape.pattern_rows, 4);
    assert_eq!(source.header().warnings[0].code, "W102");
}

#[test]
fn pages_that_differ_or_go_in_circles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.tif");
    let good = PLAIN.bytes();
    let first = u32::from_le_bytes(*good[4..8].first_chunk().unwrap());
    let next_at = first as usize + 2 + 11 * 12;
    let mut circle = good.clone();
    circle[next_at..next_at + 4].copy_from_slice(&first.to_le_bytes());
    let mut wider = good.clone();
    let second = u32::from_le_bytes(*good[next_at..].first_chunk().unwrap()) as usize;
    wider[second + 2 + 8] = 2;
    for (bytes, word) in [(circle, "circle"), (wider, "agree")] {
        std::fs::write(&path, bytes).unwrap();
        let error = open(&OpenRequest::new(&path)).err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
    // The last pages were never written.
    std::fs::write(&path, &good[..good.len() - 3]).unwrap();
    let (source, samples) = read_all(&OpenRequest::new(&path));
    assert_eq!(samples, counted(30));
    assert_eq!(source.header().warnings[0].code, "W122");
}

#[test]
fn broken_files_give_errors() {
    let plain = SpecimenFile {
        name: "stack.tif",
        bytes: Stack {
            n_pages: 2,
            ..PLAIN
        }
        .bytes(),
        header_bytes: 330,
    };
    attack(&[plain], "stack.tif", |path| OpenRequest::new(path));
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes)
        .unwrap()
        .with_compression(Compression::Lzw);
    let samples = vec![3; 600];
    encoder.write_image::<Gray16>(20, 30, &samples).unwrap();
    let bytes = bytes.into_inner();
    let lzw = SpecimenFile {
        name: "lzw.tif",
        header_bytes: bytes.len().min(300),
        bytes,
    };
    attack(&[lzw], "lzw.tif", |path| OpenRequest::new(path));
}

#[test]
fn stacks_of_other_writers_are_read() {
    // `tests/python/test_rosettasciio.py` checks that tifffile reads the same.
    let folder = for_other_readers("tiff");
    let path = folder.join("big_endian.tif");
    let stack = Stack {
        big_endian: true,
        is_big: true,
        ..PLAIN
    };
    std::fs::write(&path, stack.bytes()).unwrap();
    assert_eq!(read_all(&OpenRequest::new(&path)).1, counted(36));
}
