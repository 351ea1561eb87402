"""What does a series of few electrons a frame cost as lists of events, beside the same as patterns?

Writes one series twice, as patterns (.npy, u16) and as lists (HDF5, compressed sparse rows), and reduces both from the page cache.
What is kept of both is asserted to be the same. CPU seconds of the whole command, the least of the runs.

    python counted.py HALOTAU FOLDER [--electrons 640] [--runs 3]
"""

import argparse
from pathlib import Path

import h5py
import numpy as np
import zarr

from disk import reduce

SHAPE = (106, 8, 16)
SIDE = 264


def make(folder, electrons):
    """Electrons fall where a Gaussian of a quarter of the pattern's side says, each frame a Poisson number of them."""
    generator = np.random.default_rng(1)
    n_frames = int(np.prod(SHAPE))
    starts = np.concatenate(([0], np.cumsum(generator.poisson(electrons, n_frames))))
    place = generator.normal((131.4, 130.9), SIDE / 4, (starts[-1], 2)).round().astype(int) % SIDE
    frame = np.repeat(np.arange(n_frames), np.diff(starts))
    # In the order of pixels within a frame, as they come from counting electrons in a pattern.
    pixel = np.sort(frame * SIDE**2 + place[:, 0] * SIDE + place[:, 1]) % SIDE**2
    pixel = pixel.astype("<u4")
    patterns = np.zeros((n_frames, SIDE * SIDE), "<u2")
    np.add.at(patterns, (frame, pixel), 1)
    np.save(folder / "patterns.npy", patterns.reshape(*SHAPE, SIDE, SIDE))
    for name, options in (("lists.h5", {}), ("gzip.h5", {"chunks": (1 << 18,), "compression": "gzip", "shuffle": True})):
        with h5py.File(folder / name, "w") as file:
            group = file.create_group("events")
            group.attrs["shape"] = (*SHAPE, SIDE, SIDE)
            group["indptr"] = starts.astype("<u8")
            group.create_dataset("indices", data=pixel, **options)


def kept(folder):
    """What two reductions must have in common."""
    reduction = zarr.open(folder / "reduced" / "reduction.zarr")
    return [reduction[name][:] for name in ("ring_counts", "virtual_image", "mean_pattern", "q_sums")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("halotau", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--electrons", type=int, nargs="+", default=[64, 640, 2560])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    n_frames = np.prod(SHAPE)
    print("| electrons a frame | file | CPU µs a frame |")
    print("|---|---|---|")
    for electrons in arguments.electrons:
        make(folder, electrons)
        expected = None
        for name in ("patterns.npy", "lists.h5", "gzip.h5"):
            cpu = []
            for _ in range(arguments.runs):
                cpu.append(reduce(arguments.halotau.resolve(), folder, folder / name, 4, 1)[1])
            found = kept(folder)
            expected = expected or found
            assert all(np.array_equal(a, b) for a, b in zip(expected, found)), name
            print(f"| {electrons} | {name} | {1e6 * min(cpu) / n_frames:.0f} |", flush=True)


if __name__ == "__main__":
    main()
