"""The whole way from the file to relaxation time and variance with NumPy (BLAS) and SciPy, as a practiced user would write it.

Reads the files that the Rust benchmark of the pipeline left in `bench/target/`. CPU seconds of the process, the least of a few
runs, divided by the number of positions. BLAS runs on one thread: on a busy machine its threads wait for each other, which
counts as CPU time.
"""

import os
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from scipy.optimize import curve_fit  # noqa: E402

from reference import ANNULUS, CENTER, PERIOD_S, Q_STEP_PER_NM, RING, correlate  # noqa: E402

TARGET = Path(__file__).parent / "target"


def geometry(side):
    row, col = np.mgrid[:side, :side]
    return np.hypot(row - CENTER[0], col - CENTER[1]) * Q_STEP_PER_NM


def reduce(path, n_bin):
    """Counts on the annulus [position, time, pixel], mean pattern, virtual images, sums per q; scan by scan from the file."""
    series = np.load(path, mmap_mode="r")
    n_times, n_rows, n_cols, side, _ = series.shape
    n_positions = n_rows * n_cols
    q = geometry(side // n_bin)
    inside = np.flatnonzero((ANNULUS[0] <= q) & (q < ANNULUS[1]))
    ring = np.empty((n_positions, n_times, len(inside)), np.uint32 if n_bin > 1 else series.dtype)
    virtual = np.empty((n_times, n_positions))
    position_sum = np.zeros((n_positions, side * side), np.uint32)
    for t in range(n_times):
        scan = np.array(series[t]).reshape(n_positions, side, side)
        binned = scan
        if n_bin > 1:
            binned = scan.reshape(n_positions, side // n_bin, n_bin, side // n_bin, n_bin).sum((2, 4), np.uint32)
        ring[:, t] = binned.reshape(n_positions, -1)[:, inside]
        scan = scan.reshape(n_positions, -1)
        position_sum += scan
        virtual[t] = scan.sum(1)
    bins = (np.repeat(np.repeat(q, n_bin, 0), n_bin, 1) / (Q_STEP_PER_NM / n_bin)).astype(int).ravel()
    q_sums = np.array([np.bincount(bins, sums) for sums in position_sum])
    return ring, position_sum.sum(0) / n_positions / n_times, virtual, q_sums, q.ravel()[inside]


def fluctuate(annulus, q):
    """V of every position, per ring of one binned pixel: raw and freed of shot noise, and from consecutive scans."""
    rings = ((q - ANNULUS[0]) / Q_STEP_PER_NM).astype(int)
    member = np.zeros((len(q), rings.max() + 1))
    member[np.arange(len(q)), rings] = 1
    n = member.sum(0)
    values = np.empty((len(annulus), 3))
    for position, x in enumerate(annulus.astype(float)):
        mean, square = x @ member / n, (x * x) @ member / n
        product = (x[:-1] * x[1:]) @ member / n
        raw = square / mean**2 - 1
        two_frame = product / (mean[:-1] * mean[1:]) - 1
        values[position] = [np.mean(part @ n / n.sum()) for part in (raw, raw - 1 / mean, two_frame)]
    return values


def fit(curves, free):
    """tau of every curve by curve_fit."""
    lag_s = PERIOD_S * np.arange(1, curves.shape[1] + 1)
    start = [150.0, 0.5] + [1.0] * free

    def model(t, tau, contrast, stretch=1.0):
        return 1 + contrast * np.exp(-2 * (t / tau) ** stretch)

    bounds = ([1.0, 0.0, 0.3], [1e5, np.inf, 2.0]) if free else (-np.inf, np.inf)
    return np.array([curve_fit(model, lag_s, g, start, bounds=bounds)[0][0] for g in curves])


def main():
    truth = np.load(TARGET / "truth.npy")
    print("| file | stretch | step | ms a position |")
    print("|---|---|---|---|")
    for name, path, n_bin, free, runs in (
        ("binned", "series.npy", 1, False, 3),
        ("binned", "series.npy", 1, True, 2),
        ("native", "native.npy", 4, False, 2),
    ):
        least = np.inf
        for _ in range(runs):
            start = time.process_time()
            ring, mean_pattern, virtual, q_sums, q = reduce(TARGET / path, n_bin)
            reduced = time.process_time()
            inside = (RING[0] <= q) & (q < RING[1])
            curves = correlate(ring[..., inside])
            variance = fluctuate(ring, q)
            tau_s = fit(curves, free)
            end = time.process_time()
            if end - start < least:
                least, parts = end - start, (reduced - start, end - reduced, end - start)
        assert np.isclose(mean_pattern.sum(), virtual.mean()) and np.isclose(q_sums.sum(), virtual.sum())
        assert np.isfinite(variance).all()
        median = np.median(tau_s / truth[: len(tau_s)])
        assert abs(median - 1) < 0.08, median
        stretch = "free" if free else "fixed"
        for step, seconds in zip(("read and reduce", "analyze", "whole"), parts):
            print(f"| {name}, NumPy, SciPy | {stretch} | {step} | {1e3 * seconds / len(ring):.3f} |")


if __name__ == "__main__":
    main()
