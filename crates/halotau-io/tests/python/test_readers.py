"""Do other programs read the same numbers from recordings that the tests wrote?

`tests/formats` leaves recordings in the folder HALOTAU_READERS, one folder a format, each with what halotau read of them, as f8.
"""

import os
import pathlib

import numpy as np
import pytest
from libertem.common import Shape
from libertem.io.dataset.base import TilingScheme
from libertem.io.dataset.frms6 import FRMS6DataSet

READERS = pathlib.Path(os.environ["HALOTAU_READERS"])
FRMS6 = sorted((READERS / "frms6").iterdir())


class Here:
    """Runs in this process what LiberTEM would give to its workers."""

    @staticmethod
    def run_function(function, *args, **kwargs):
        return function(*args, **kwargs)


def frms6(path, dark):
    dataset = FRMS6DataSet(path=str(path), enable_offset_correction=dark)
    dataset.set_num_cores(1)
    dataset = dataset.initialize(Here())
    dataset.check_valid()
    pattern = tuple(dataset.shape.sig)
    tiles = TilingScheme.make_for_shape(tileshape=Shape((1, *pattern), sig_dims=2), dataset_shape=dataset.shape)
    frames = np.full((dataset.shape.nav.size, *pattern), np.nan)
    for partition in dataset.get_partitions():
        partition.set_corrections(dataset.get_correction_data())
        for tile in partition.get_tiles(tiling_scheme=tiles, dest_dtype=np.float32):
            first = tile.tile_slice.origin[0]
            frames[first : first + len(tile.data)] = tile.data
    return frames


@pytest.mark.parametrize("folder", FRMS6, ids=lambda folder: folder.name)
@pytest.mark.parametrize("name, dark", [("corrected.f8", True), ("stored.f8", False)])
def test_libertem_reads_the_same_frms6(folder, name, dark):
    found = np.fromfile(folder / name)
    expected = frms6(folder / f"{folder.name}.hdr", dark)
    assert expected.std() > 1000
    # LiberTEM means the dark frames in f32: small whole numbers, so that both round once.
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
