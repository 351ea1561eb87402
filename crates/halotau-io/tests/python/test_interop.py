"""Do other programs open the results unasked, with the same numbers, names and units?

HALOTAU_RESULTS names a folder with reduction.zarr, analysis.zarr, maps.csv, results.h5 and folders tiff and npy, all of
one analysis. `cargo test -p halotau-io` leaves one in `target/tmp/interop`.
"""

import csv
import os
import pathlib
import warnings

import h5py
import numpy as np
import pytest
import tifffile
import xarray
import zarr
from silx.io import nxdata

RESULTS = pathlib.Path(os.environ["HALOTAU_RESULTS"])
MAP_NAMES = [path.stem for path in sorted((RESULTS / "tiff").glob("*.tif"))]


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def analysis():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xarray.open_zarr(RESULTS / "analysis.zarr").load()


@pytest.fixture(scope="module")
def reduction():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xarray.open_zarr(RESULTS / "reduction.zarr").load()


def test_analysis_has_names_units_and_coordinates(analysis):
    assert len(MAP_NAMES) == 23
    for name in MAP_NAMES:
        assert analysis[name].dims == ("row", "col")
        assert analysis[name].dtype == np.float64
        assert analysis[name].attrs["long_name"]
    assert analysis.tau_s.attrs["units"] == "s"
    assert analysis.g.dims == ("row", "col", "lag")
    assert analysis.two_time.dims == ("kept", "time_1", "time_2")
    assert list(analysis.two_time_row.values[:1]) == [-1]
    assert {"time_s", "lag_s", "row_nm", "col_nm", "time_1_s", "two_time_row"} <= set(analysis.coords)
    assert analysis.row_nm.dims == ("row",)
    assert analysis.attrs["complete"] is True
    assert analysis.attrs["conventions"]["exponent_factor"] == 2.0
    assert analysis.attrs["summary"]["n_valid"] <= analysis.attrs["summary"]["n_positions"]


def test_quality_bits_explain_themselves(analysis):
    quality = analysis.quality
    masks = dict(zip(quality.attrs["flag_meanings"].split(), quality.attrs["flag_masks"], strict=True))
    assert masks["tau_gt_window"] == 1 << 11
    rows = read_maps_csv()
    for row in rows:
        bits = int(quality.values[int(row["row"]), int(row["col"])])
        assert {name for name, mask in masks.items() if bits & mask} == set(row["flags"].split())
    outcome = analysis.outcome.attrs
    assert len(outcome["flag_values"]) == len(outcome["flag_meanings"].split())


def test_reduction_has_names_units_and_coordinates(reduction):
    assert reduction.ring_counts.dims == ("row", "col", "time", "pixel")
    assert reduction.ring_counts.dtype == np.uint16
    assert reduction.frame_valid.dtype == bool
    assert reduction.pixel_valid.dims == ("row", "col", "pixel")
    assert reduction.virtual_image.dims == ("time", "row", "col")
    assert reduction.mean_pattern.dims == ("pattern_row", "pattern_col")
    assert {"time_s", "pixel_q_per_nm", "pixel_azimuth_rad", "q_min_per_nm"} <= set(reduction.coords)
    assert reduction.pixel_q_per_nm.attrs["units"] == "nm-1"
    for key in ["parameters", "layout", "version", "conventions"]:
        assert key in reduction.attrs
    scalars = reduction.attrs["reduction"]
    assert scalars["calibration"]["q_step_per_nm"] > 0
    # A sum that differs wherever one count lies elsewhere.
    counts = reduction.ring_counts.values.astype(np.float64)
    assert counts.shape == tuple(reduction.sizes[name] for name in reduction.ring_counts.dims)
    assert counts.std() > 0


def test_damage_is_noticed_by_zarr_python(tmp_path):
    source = RESULTS / "reduction.zarr" / "ring_counts"
    chunk = "c/0/0/0/0"
    good = (source / chunk).read_bytes()
    (tmp_path / chunk).parent.mkdir(parents=True)
    (tmp_path / "zarr.json").write_bytes((source / "zarr.json").read_bytes())
    random = np.random.default_rng(1)
    for _ in range(60):
        bit = int(random.integers(8 * len(good)))
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << (bit % 8)
        (tmp_path / chunk).write_bytes(bad)
        array = zarr.open_array(tmp_path, mode="r")
        rows, cols = array.shards[:2]
        with pytest.raises(Exception):  # noqa: B017, the exception depends on where the bit lies
            array[:rows, :cols]


@pytest.mark.parametrize("name", MAP_NAMES)
def test_npy_and_tiff_equal_zarr(analysis, name):
    values = analysis[name].values
    np.testing.assert_array_equal(np.load(RESULTS / "npy" / f"{name}.npy"), values)
    np.testing.assert_array_equal(tifffile.imread(RESULTS / "tiff" / f"{name}.tif"), values.astype(np.float32))


def test_tiff_is_calibrated_as_imagej_reads_it(analysis):
    step_nm = float(analysis.row_nm[1] - analysis.row_nm[0])
    with tifffile.TiffFile(RESULTS / "tiff" / "tau_s.tif") as tif:
        assert tif.is_imagej
        assert tif.imagej_metadata["unit"] == "nm"
        for tag in ["XResolution", "YResolution"]:
            pixels, nm = tif.pages[0].tags[tag].value
            assert nm / pixels == pytest.approx(step_nm, rel=1e-6)


def read_maps_csv():
    with open(RESULTS / "maps.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def test_csv_equals_zarr(analysis):
    rows = read_maps_csv()
    assert len(rows) == analysis.sizes["row"] * analysis.sizes["col"]
    for row in rows:
        at = int(row["row"]), int(row["col"])
        for name in ["tau_s", "tau_upper_s", "contrast", "fluctuation"]:
            value = float(row[name] or "nan")
            np.testing.assert_equal(value, analysis[name].values[at])
        assert float(row["row_nm"]) == analysis.row_nm.values[at[0]]
        assert float(row["col_nm"]) == analysis.col_nm.values[at[1]]


def test_hdf5_plots_itself_by_the_rules_of_nexus(analysis):
    with h5py.File(RESULTS / "results.h5") as file:
        assert file.attrs["NX_class"] == "NXroot"
        entry = file[file.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry.attrs["default"] == "tau_s"
        groups = [group for group in entry.values() if group.attrs.get("NX_class") == "NXdata"]
        assert len(groups) >= 15
        for group in groups:
            signal = group[group.attrs["signal"]]
            axes = group.attrs["axes"]
            assert len(axes) == signal.ndim
            for axis, length in zip(axes, signal.shape, strict=True):
                assert axis == "." or group[axis].shape == (length,)
            errors = group.get(group.attrs["signal"] + "_errors")
            assert errors is None or errors.shape == signal.shape
            assert isinstance(signal.attrs["units"], str)
            assert isinstance(signal.attrs["long_name"], str)
            if group.attrs["signal"] in analysis:
                np.testing.assert_array_equal(signal[...], analysis[group.attrs["signal"]].values)
        np.testing.assert_array_equal(entry["fluctuation/fluctuation_errors"], analysis.fluctuation_error)
        assert entry["process/program"].asstr()[0] == "halotau"
        assert file["entry/process/recipe_toml"].asstr()[0] == analysis.attrs["recipe_toml"]


def test_hdf5_plots_itself_in_silx(analysis):
    with h5py.File(RESULTS / "results.h5") as file:
        default = nxdata.get_default(file)
        assert default is not None and default.is_valid and default.signal.ndim == 2
        assert default.signal_dataset_name == "tau_s"
        assert default.signal_name == "relaxation time (s)"
        assert [axis.attrs["units"] for axis in default.axes] == ["nm", "nm"]
        assert default.errors.shape == default.signal.shape
