"""Writes the HDF5 specimens beside this file, with h5py 3.16.0 and hdf5plugin 7.1.0 (requirements-test.txt).

    python make_specimens.py

Every file holds the same series, of shape (7, 3, 5, 4, 6), whose sample n is n * 7919 % 60013: as the HDF5 library stores it by
each kind of filter, of index and of group. `tests/formats/hdf5.rs` reads them all.
"""

import pathlib

import h5py
import hdf5plugin
import numpy as np

HERE = pathlib.Path(__file__).parent
SHAPE = (7, 3, 5, 4, 6)
SERIES = (np.arange(np.prod(SHAPE)) * 7919 % 60013).astype("<u2").reshape(SHAPE)
# More blocks than the 1024 entries of a page of an index.
MANY = (1, 1, 1, 1, 2)
FEW = (2, 1, 4, 4, 6)


def write(name, chunks=FEW, libver="earliest", maxshape=None, **filters):
    with h5py.File(HERE / f"{name}.h5", "w", libver=libver) as file:
        file.create_dataset("data", data=SERIES, chunks=chunks, maxshape=maxshape, **filters)


for name, filters in {
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle_lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle_zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4": hdf5plugin.LZ4(),
    "zstd": hdf5plugin.Zstd(),
    "blosc_lz4": hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.BITSHUFFLE),
    "blosc_zstd": hdf5plugin.Blosc(cname="zstd"),
    "gzip": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
}.items():
    write(name, **filters)

grows = (None, *SHAPE[1:])
write("tree_1", MANY)
write("tree_2", MANY, "latest", (None, None, *SHAPE[2:]))
write("fixed_array", MANY, "latest")
write("fixed_array_filtered", MANY, "latest", fletcher32=True)
write("extensible_array", MANY, "latest", grows)
write("extensible_array_filtered", MANY, "latest", grows, fletcher32=True)
# The axis that grows is not the first, and another may grow up to a length.
write("extensible_array_turned", MANY, "latest", (9, None, *SHAPE[2:]))
write("single_block", SHAPE, "latest", compression="gzip")

with h5py.File(HERE / "implicit.h5", "w", libver="latest") as file:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((2, 3, 5, 4, 6))
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple(SHAPE)
    dataset = h5py.h5d.create(file.id, b"data", h5py.h5t.py_create(SERIES.dtype), space, layout)
    h5py.Dataset(dataset)[...] = SERIES

with h5py.File(HERE / "compact.h5", "w") as file:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(SHAPE)
    dataset = h5py.h5d.create(file.id, b"data", h5py.h5t.py_create(SERIES.dtype), space, layout)
    h5py.Dataset(dataset)[...] = SERIES

# Groups and attributes beyond what fits in headers, links of every kind, and a user block in front.
for name, libver in {"many_objects_1": "earliest", "many_objects_2": "latest"}.items():
    with h5py.File(HERE / f"{name}.h5", "w", libver=libver, track_order=True, userblock_size=512) as file:
        for number in range(20):
            file.create_group(f"group {number}/inner")
        group = file["group 7"]
        for number in range(20):
            group.attrs[f"note {number}"] = number
        group.attrs["dt_s"] = np.float32(4.5)
        group["link"] = h5py.SoftLink("/target/frames")
        dataset = file.create_dataset("target/frames", data=SERIES)
        for number in range(20):
            dataset.attrs[f"note {number}"] = str(number)
        dataset.attrs["temperature_K"] = 633
        file["soft"] = h5py.SoftLink("/group 7/link")
        file["hard"] = dataset
