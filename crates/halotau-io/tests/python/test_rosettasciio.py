"""Do RosettaSciIO and tifffile read the values that the Rust tests wrote, and that halotau read back?

`tests/formats` leaves recordings in folders of HALOTAU_READERS. Their samples are counted, so that each has a value of its own.
"""

import os
import pathlib

import numpy as np
import tifffile
from rsciio.empad import file_reader as read_empad
from rsciio.tvips import file_reader as read_tvips

READERS = pathlib.Path(os.environ["HALOTAU_READERS"])


def test_a_tvips_recording_in_two_parts():
    path = READERS / "tvips" / "written_000.tvips"
    data = read_tvips(str(path))[0]["data"]
    assert data.dtype == np.uint16
    np.testing.assert_array_equal(data, np.arange(36).reshape(6, 3, 2))


def test_an_empad_scan():
    path = READERS / "empad" / "acquisition_1.xml"
    data = read_empad(str(path))[0]["data"]
    frame, row, col = np.ogrid[:4, :128, :128]
    expected = (frame + row / 128 + col / 65536).astype("f4")
    np.testing.assert_array_equal(data.reshape(4, 128, 128), expected)


def test_a_big_endian_bigtiff():
    data = tifffile.imread(READERS / "tiff" / "big_endian.tif")
    np.testing.assert_array_equal(data, np.arange(36).reshape(6, 2, 3))
