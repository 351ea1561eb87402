"""Does the script for files of no known format write what RosettaSciIO reads, with its axes?"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import zarr
from rsciio.digitalmicrograph import file_reader

SCRIPT = pathlib.Path(__file__).parents[4] / "scripts" / "convert_any.py"
SCAN = pathlib.Path(os.environ["HALOTAU_READERS"]) / "dm" / "scan.dm4"


def test_a_scan_becomes_a_series_of_one(tmp_path):
    output = tmp_path / "scan.zarr"
    subprocess.run([sys.executable, SCRIPT, SCAN, output], check=True)
    array = zarr.open_array(str(output), mode="r")
    (signal,) = file_reader(str(SCAN))
    np.testing.assert_array_equal(array[0], signal["data"])
    assert array.dtype == signal["data"].dtype
    assert array.attrs["step_nm"] == 1.5
    assert array.attrs["q_step_per_nm"] > 0
    # What is there is not overwritten.
    again = subprocess.run([sys.executable, SCRIPT, SCAN, output], capture_output=True, text=True)
    assert again.returncode != 0 and "is there already" in again.stderr
