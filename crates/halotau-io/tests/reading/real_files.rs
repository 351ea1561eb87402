//! Files that instruments and other programs wrote, where the folder with them is given by the variable
//! `HALOTAU_SAMPLES`. The numbers were computed with h5py 3 and zarr-python 3.

use std::path::PathBuf;

use halotau::series::{FrameBlock, FrameRun, Sample as _};
use halotau::with_samples;
use halotau_io::{BoxedSource, Error, OpenRequest, open};

fn samples_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("HALOTAU_SAMPLES").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: HALOTAU_SAMPLES does not name the folder with the sample files");
    }
    folder
}

/// Sum, smallest, largest, and a sum whose weights find rows, columns and times that changed places.
fn statistics(source: &BoxedSource) -> [f64; 4] {
    let shape = source.header().shape;
    let mut block = FrameBlock::empty(source.header().sample_type);
    let [mut sum, mut min, mut max, mut weighted] = [0.0, f64::INFINITY, f64::NEG_INFINITY, 0.0];
    for row in 0..shape.n_rows {
        let run = FrameRun {
            first_time: 0,
            n_times: shape.n_times,
            first_frame: row * shape.n_cols,
            n_frames: shape.n_cols,
        };
        source.read(&run, &mut block).unwrap();
        with_samples!(&block.samples, samples => {
            for (idx, &sample) in samples.iter().enumerate() {
                let sample = sample.to_f64();
                sum += sample;
                min = sample.min(min);
                max = sample.max(max);
                weighted += sample * ((idx * 31 + row * 17) % 1009) as f64;
            }
        });
    }
    [sum, min, max, weighted]
}

#[test]
fn the_foreign_series_have_their_sums_and_attributes() {
    let Some(folder) = samples_folder() else {
        return;
    };
    let cases = [
        (
            "T633.h5",
            [160_932_511.0, 0.0, 175.0, 81_107_867_995.0],
            633.0,
            9.2,
        ),
        (
            "T653.zarr",
            [80_194_572.0, 0.0, 137.0, 40_415_943_384.0],
            653.0,
            4.8,
        ),
        (
            "T673.h5",
            [80_399_101.0, 0.0, 105.0, 40_533_109_204.0],
            673.0,
            4.8,
        ),
    ];
    for (name, expected, temperature_k, period_s) in cases {
        let source = open(&OpenRequest::new(folder.join("foreign").join(name))).unwrap();
        let header = source.header();
        assert_eq!(
            header.shape.to_string(),
            "time 106 · scan 8 x 9 · pattern 66 x 66"
        );
        assert_eq!(header.temperature_k.as_ref().unwrap().value, temperature_k);
        assert_eq!(header.period_s.as_ref().unwrap().value, period_s);
        assert_eq!(header.q_step_per_nm.as_ref().unwrap().value, 0.23);
        assert_eq!(header.step_nm.as_ref().unwrap().value, 0.16);
        assert_eq!(header.voltage_kv.as_ref().unwrap().value, 200.0);
        assert_eq!(
            (
                header.chunk.n_times,
                header.chunk.n_rows,
                header.chunk.n_cols
            ),
            (16, 1, 8)
        );
        assert_eq!(statistics(&source), expected, "{name}");
    }
}

#[test]
fn every_real_hdf5_and_zarr_file_is_read_or_refused_with_a_reason() {
    let Some(folder) = samples_folder() else {
        return;
    };
    let formats = folder.join("formats");
    let source = open(&OpenRequest::new(
        formats.join("emd/py4DSTEM_size2x3x4x5.h5"),
    ))
    .unwrap();
    let [sum, min, max, _] = statistics(&source);
    assert_eq!((min, max), (-13.118_800_163_269_043, 2_766.895_507_812_5));
    assert!((sum - 28_255.876_245_498_657).abs() < 1e-6 * sum);
    assert_eq!(
        source.header().shape.to_string(),
        "time 1 · scan 2 x 3 · pattern 4 x 5"
    );

    let mut request = OpenRequest::new(formats.join("nexus/nexus_test_datakey.nxs"));
    request.dataset = Some("/entry1/testdata/nexustest3/some_data".to_owned());
    request.shape = Some([1, 2, 2, 5, 6]);
    assert_eq!(statistics(&open(&request).unwrap()), [0.0; 4]);

    let absent = "au_145mm_68kx_microprobe_01_data_000001.h5";
    for (name, reason, exit_code) in [
        (
            "nexus/nexus_test_datakey.nxs",
            "nexustest2/data [4, 5, 6]",
            65,
        ),
        (
            "dectris_arina_meta/au_145mm_68kx_microprobe_01.h5",
            absent,
            66,
        ),
        (
            "dectris_arina_meta/au_145mm_68kx_microprobe_01_master.h5",
            absent,
            66,
        ),
    ] {
        let error: Error = open(&OpenRequest::new(formats.join(name)))
            .err()
            .expect(name);
        assert_eq!(error.exit_code(), exit_code, "{name}: {error}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
}
