"""Is `halotau reduce` as fast as the disk?

Makes a native series of a given size with NumPy, if it is not there, and then takes turns: reading it whole in direct requests of
8 MiB, which go around the page cache, and reducing it with the pages dropped before. Wall seconds, and what they make together; the
peak memory of the process, and its CPU seconds.

    python disk.py HALOTAU FOLDER [--gb 8] [--runs 5] [--threads 1 2] [--bin 4] [--layout npy]

Layouts: `npy`, and with h5py `hdf5` (one piece) and `hdf5-frames` (a chunk a frame, not compressed).
"""

import argparse
import mmap
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np

SIDE = 264
N_TIMES = 106
N_COLS = 68
REQUEST_BYTES = 8 << 20

RECIPE = """schema = 1
[pattern]
q_step_per_nm = 0.058
bin = {bin}
center = [131.4, 130.9]
[calibration]
center = "off"
descan = "off"
center_path = "off"
ellipse = "off"
beam_stop = "off"
bad_pixels = "off"
[reduction]
q_range_per_nm = [3.0, 5.8]
[[data]]
temperature_k = 633.0
path = "{path}"
period_s = 9.89
"""


def make(path, n_rows, layout):
    """Poisson counts with mean 1; scans are the first one with its patterns moved on, which compresses no better."""
    scan = np.random.default_rng(1).poisson(1.0, (n_rows * N_COLS, SIDE, SIDE)).astype("<u2")
    scans = (np.roll(scan, time_idx, axis=0) for time_idx in range(N_TIMES))
    shape = (N_TIMES, n_rows, N_COLS, SIDE, SIDE)
    if layout == "npy":
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<u2", "fortran_order": False, "shape": shape})
            for one in scans:
                file.write(one.tobytes())
        return
    import h5py

    chunks = (1, 1, 1, SIDE, SIDE) if layout == "hdf5-frames" else None
    with h5py.File(path, "w") as file:
        frames = file.create_dataset("frames", shape, "<u2", chunks=chunks)
        for time_idx, one in enumerate(scans):
            frames[time_idx] = one.reshape(shape[1:])


def drop(path):
    """Takes the pages of a file out of the cache."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def direct(path):
    """Seconds to read all in large direct requests."""
    buffer = mmap.mmap(-1, REQUEST_BYTES)
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    start, at = time.perf_counter(), 0
    while n_bytes := os.preadv(file, [buffer], at):
        at += n_bytes
        if n_bytes < REQUEST_BYTES:
            break
    seconds = time.perf_counter() - start
    os.close(file)
    assert at == os.path.getsize(path)
    return seconds


def reduce(halotau, folder, path, n_bin, n_threads):
    """Wall and CPU seconds of the whole command and its peak memory."""
    recipe, out = folder / "recipe.toml", folder / "reduced"
    recipe.write_text(RECIPE.format(bin=n_bin, path=path))
    shutil.rmtree(out, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [halotau, "reduce", recipe, "-o", out, "--quiet", "--threads", str(n_threads)]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, after.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("halotau", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gb", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--bin", type=int, default=4)
    parser.add_argument("--layout", choices=["npy", "hdf5", "hdf5-frames"], default="npy")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    n_rows = max(1, round(arguments.gb * 1e9 / (N_TIMES * N_COLS * SIDE * SIDE * 2)))
    ending = "npy" if arguments.layout == "npy" else "h5"
    path = arguments.folder.resolve() / f"{arguments.layout}-{n_rows}.{ending}"
    if not path.exists():
        make(path, n_rows, arguments.layout)
    gb = path.stat().st_size / 1e9
    ratios = {n_threads: [] for n_threads in arguments.threads}
    print(f"{gb:.2f} GB, load {os.getloadavg()[0]:.1f}")
    print("| threads | direct read s | reduce s | ratio | CPU s | peak MiB |")
    print("|---|---|---|---|---|---|")
    for _ in range(arguments.runs):
        for n_threads in arguments.threads:
            drop(path)
            read = direct(path)
            drop(path)
            whole, cpu, peak = reduce(arguments.halotau.resolve(), arguments.folder, path, arguments.bin, n_threads)
            ratios[n_threads].append(whole / read)
            print(f"| {n_threads} | {read:.2f} | {whole:.2f} | {whole / read:.3f} | {cpu:.2f} | {peak:.0f} |", flush=True)
    for n_threads, of_runs in ratios.items():
        print(f"{n_threads} threads: least ratio {min(of_runs):.3f}, median {np.median(of_runs):.3f}")


if __name__ == "__main__":
    main()
