//! Does the same series give the same reduction from every container?

use std::fs;
use std::path::{Path, PathBuf};

use halotau::axes::{QRange, TimeAxis, TimeBasis};
use halotau::calibrate::Calibration;
use halotau::ndarray::Array2;
use halotau::recipe::RawLayout;
use halotau::reduce::{ReducePlan, ReduceSettings, Reduction};
use halotau::ring::RingSeries;
use halotau::series::{SampleType, Samples, SeriesHeader, SeriesShape, Stated};
use halotau::with_counts;
use halotau_io::{OpenRequest, SeriesFormat, SeriesWriter, open};
use rust_hdf5::H5File;

const SHAPE: SeriesShape = SeriesShape {
    n_times: 4,
    n_rows: 3,
    n_cols: 5,
    pattern_rows: 24,
    pattern_cols: 24,
};

/// Counts of a halo, different in every pixel of every frame.
fn counts() -> Vec<u16> {
    let n = SHAPE.n_times * SHAPE.n_positions() * SHAPE.frame_len();
    let count = |idx: usize| {
        let pixel = idx % SHAPE.frame_len();
        let (row, col) = (pixel / SHAPE.pattern_cols, pixel % SHAPE.pattern_cols);
        let radius = (row as f64 - 11.5).hypot(col as f64 - 11.5);
        let noise = (idx as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        (noise as f64 * (-(radius - 7.0).powi(2) / 8.0).exp()) as u16
    };
    (0..n).map(count).collect()
}

fn frames(counts: &[u16]) -> impl Iterator<Item = &[u16]> {
    counts.chunks_exact(SHAPE.frame_len())
}

fn write_mib(path: &Path, counts: &[u16]) {
    let mut bytes = Vec::new();
    for (number, frame) in frames(counts).enumerate() {
        let text = format!(
            "MQ1,{:06},00384,01,{:04},{:04},U16,   1x1,01,2021-04-15 15:03:32.852759,0.001000,0,0,0,{}3RX,{}MQ1A,2021-04-15T14:03:32.852759401Z,1000000ns,12",
            number + 1,
            SHAPE.pattern_cols,
            SHAPE.pattern_rows,
            "0.0,".repeat(8),
            "0,".repeat(27)
        );
        let mut header = text.into_bytes();
        header.resize(384, 0);
        bytes.extend(header);
        bytes.extend(frame.iter().flat_map(|count| count.to_be_bytes()));
    }
    fs::write(path, bytes).unwrap();
}

/// The two halves of a frame side by side, the lower one turned by half a turn.
fn write_frms6(folder: &Path, counts: &[u16]) -> PathBuf {
    let (half, side) = (SHAPE.pattern_rows / 2, SHAPE.pattern_cols);
    let file = |name: &str, frames: &[&[u16]]| {
        let mut bytes = vec![0_u8; 1024];
        bytes[..8].copy_from_slice(&[0, 4, 64, 0, 1, 0, 0, 6]);
        bytes[88..90].copy_from_slice(&(2 * side as u16).to_le_bytes());
        bytes[90..92].copy_from_slice(&(half as u16).to_le_bytes());
        bytes[1020..].copy_from_slice(&(frames.len() as u32).to_le_bytes());
        for (number, frame) in frames.iter().enumerate() {
            let mut header = [0_u8; 64];
            header[12..16].copy_from_slice(&(number as u32).to_le_bytes());
            header[26..28].copy_from_slice(&(half as u16).to_le_bytes());
            bytes.extend(header);
            for row in 0..half {
                let upper = frame[row * side..(row + 1) * side].iter();
                let below = 2 * half - 1 - row;
                let lower = frame[below * side..(below + 1) * side].iter().rev();
                bytes.extend(upper.chain(lower).flat_map(|count| count.to_le_bytes()));
            }
        }
        fs::write(folder.join(name), bytes).unwrap();
    };
    let dark = vec![0_u16; SHAPE.frame_len()];
    file("scan_000.frms6", &[&dark, &dark]);
    file("scan_001.frms6", &frames(counts).collect::<Vec<_>>());
    let n_frames = SHAPE.n_times * SHAPE.n_positions();
    let text = format!(
        "[measurementInfo]\ndarkframes = 2\nsignalframes = {n_frames}\ndwelltimemicroseconds = 1000\ngain = 1\nstemimagesize = \"{}x{}\"\nreadoutmode = \"bin: 1, windowing: 0 x 0 \"\n",
        SHAPE.n_rows, SHAPE.n_cols
    );
    let path = folder.join("scan.hdr");
    fs::write(&path, text).unwrap();
    path
}

fn write_own(path: &Path, counts: &[u16], format: SeriesFormat) {
    let header = SeriesHeader::new("series", "memory", SHAPE, SampleType::U16);
    let mut writer = SeriesWriter::create(path, &header, format).unwrap();
    let samples = Samples::U16(counts.to_vec());
    writer.write_block(0, SHAPE.n_rows, &samples).unwrap();
    writer.finish().unwrap();
}

/// The reduction, and the counts of all shards as numbers.
fn reduce(request: &OpenRequest) -> (Reduction, Vec<f64>) {
    let source = open(request).unwrap();
    assert_eq!(source.header().shape, SHAPE, "{:?}", request.path);
    let mut header = SeriesHeader::new("series", "memory", SHAPE, source.header().sample_type);
    header.period_s = Some(Stated::new(5.0, "test"));
    let valid = Array2::from_elem((SHAPE.pattern_rows, SHAPE.pattern_cols), true);
    let calibration = Calibration::centered((11.5, 11.5), 0.5, valid);
    let mut settings = ReduceSettings::of(&header, calibration, QRange::new(2.0, 5.0)).unwrap();
    settings.time = TimeAxis::of(&header, TimeBasis::Period).unwrap().0;
    // Numbers that are not known are NaN, which equals nothing.
    (settings.temperature_k, settings.step_nm) = (633.0, 0.2);
    let plan = ReducePlan::new(source.header(), settings).unwrap();
    let (mut reduction, rings) = plan.reduce(source.as_ref(), 1 << 16).unwrap();
    reduction.name = String::new();
    let numbers = |ring: &RingSeries| -> Vec<f64> {
        with_counts!(&ring.counts, counts => counts.iter().map(|&count| f64::from(count)).collect())
    };
    (reduction, rings.iter().flat_map(numbers).collect())
}

#[test]
fn every_container_gives_the_same_reduction() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let counts = counts();
    write_own(&path("a.npy"), &counts, SeriesFormat::Npy);
    write_own(&path("a.zarr"), &counts, SeriesFormat::Zarr);
    write_own(&path("a.raw"), &counts, SeriesFormat::Raw);
    write_mib(&path("a.mib"), &counts);
    let file = H5File::create(path("a.h5")).unwrap();
    let dims = [4, 3, 5, 24, 24];
    let dataset = file
        .new_dataset::<u16>()
        .shape(dims)
        .create("data")
        .unwrap();
    dataset.write_raw(&counts).unwrap();
    drop((dataset, file));
    let frms6 = write_frms6(folder.path(), &counts);

    let shape = Some([SHAPE.n_times, SHAPE.n_rows, SHAPE.n_cols, 0, 0]);
    let of = |name: &str| OpenRequest {
        shape,
        ..OpenRequest::new(path(name))
    };
    let raw = OpenRequest {
        shape: Some(dims),
        raw: Some(RawLayout {
            sample_type: SampleType::U16,
            big_endian: false,
            header_bytes: 0,
            frame_header_bytes: 0,
            frame_footer_bytes: 0,
            scan_header_bytes: 0,
        }),
        ..OpenRequest::new(path("a.raw"))
    };
    let (reduction, ring) = reduce(&of("a.npy"));
    assert!(ring.iter().any(|&count| count > 0.0));
    for request in [of("a.zarr"), of("a.h5"), of("a.mib"), raw] {
        let (other, other_ring) = reduce(&request);
        assert_eq!(other, reduction, "{:?}", request.path);
        assert_eq!(other_ring, ring, "{:?}", request.path);
    }
    // The dark is subtracted, so the counts are floats; their values are the same.
    let (corrected, corrected_ring) = reduce(&OpenRequest::new(frms6));
    assert_eq!(corrected.sample_type, SampleType::F32);
    assert_eq!(corrected_ring, ring);
    assert_eq!(corrected.virtual_image, reduction.virtual_image);
    assert_eq!(corrected.q_sums, reduction.q_sums);
}
