"""Does another program read the same numbers from the DigitalMicrograph files that the tests wrote?

`tests/formats/dm.rs` leaves the files in the folder HALOTAU_READERS/dm, each with what halotau read of it, as f8.
"""

import os
import pathlib

import numpy as np
import pytest
from rsciio.digitalmicrograph import file_reader

FOLDER = pathlib.Path(os.environ["HALOTAU_READERS"]) / "dm"


def frames(path):
    """The signal of a file, frames one after another, and its axes."""
    (signal,) = file_reader(str(path))
    return signal["data"], signal["axes"]


@pytest.mark.parametrize("name", ["scan.dm3", "scan.dm4"])
def test_scans_are_the_same(name):
    expected, axes = frames(FOLDER / name)
    found = np.fromfile(FOLDER / f"{name}.f8")
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert [axis["units"] for axis in axes] == ["nm", "nm", "1/A", "1/A"]
    assert axes[0]["scale"] == 1.5


def test_the_parts_of_a_recording_are_scans_of_the_director():
    scan, _ = frames(FOLDER / "run.dm4")
    parts = [FOLDER / "run.raw", FOLDER / "run.raw_1", FOLDER / "run.raw_2"]
    stream = b"".join(part.read_bytes() for part in parts)
    expected = np.frombuffer(stream, dtype=scan.dtype).reshape(-1, *scan.shape)
    found = np.fromfile(FOLDER / "run.dm4.f8")
    assert len(expected) == 3
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
