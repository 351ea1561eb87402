"""The benchmark's job with NumPy (BLAS) and SciPy, as a practiced user would write it.

Reads the series that the Rust benchmark left in `bench/target/`. CPU seconds of the process over all BLAS threads,
the least of five runs; the fit once, because it is slow.
"""

import time
from pathlib import Path

import numpy as np
from scipy.optimize import curve_fit

TARGET = Path(__file__).parent / "target"
CENTER, Q_STEP_PER_NM, PERIOD_S = (33.0, 33.0), 0.23, 9.89
ANNULUS, RING = (3.0, 5.8), (4.2, 4.6)
RUNS = 5


def fastest(work, runs=RUNS):
    least = np.inf
    for _ in range(runs):
        start = time.process_time()
        answer = work()
        least = min(least, time.process_time() - start)
    return least, answer


def reduce(series, q):
    """Counts on the annulus [row, col, time, pixel], mean pattern, virtual images, sums per q."""
    n_times, n_rows, n_cols, *pattern = series.shape
    inside = np.flatnonzero((ANNULUS[0] <= q) & (q < ANNULUS[1]))
    bins = (q / Q_STEP_PER_NM).astype(int).ravel()
    flat = series.reshape(n_times, n_rows * n_cols, -1)
    ring = np.empty((n_rows * n_cols, n_times, len(inside)), series.dtype)
    pattern_sum = np.zeros(q.size)
    virtual = np.empty((n_times, n_rows * n_cols))
    position_sum = np.zeros((n_rows * n_cols, q.size))
    for t, scan in enumerate(flat):
        ring[:, t] = scan[:, inside]
        scan = scan.astype(float)
        position_sum += scan
        virtual[t] = scan.sum(1)
    pattern_sum = position_sum.sum(0)
    by_bin = np.zeros((q.size, bins.max() + 1))
    by_bin[np.arange(q.size), bins] = 1
    return ring, pattern_sum / flat.shape[0] / flat.shape[1], virtual, position_sum @ by_bin


def correlate(ring):
    """g of every position, [position, lag]; one BLAS product a position."""
    n_times = ring.shape[1]
    # Entry (i, j) of G belongs to lag j - i.
    lag = np.arange(n_times)[None, :] - np.arange(n_times)[:, None]
    late = lag > 0
    n_pairs = np.arange(n_times - 1, 0, -1)
    curves = np.empty((len(ring), n_times - 1))
    for position, x in enumerate(ring.astype(float)):
        mean = x.mean(1)
        g = x @ x.T / x.shape[1] / np.outer(mean, mean)
        curves[position] = np.bincount(lag[late], g[late])[1:] / n_pairs
    return curves


def fit(curves):
    """tau of every curve by curve_fit with weights by the number of pairs."""
    lag_s = PERIOD_S * np.arange(1, curves.shape[1] + 1)
    sigma = 1 / np.sqrt(np.arange(curves.shape[1], 0, -1))
    model = lambda t, tau, contrast: 1 + contrast * np.exp(-2 * t / tau)  # noqa: E731
    return np.array([curve_fit(model, lag_s, g, (150.0, g[0] - 1), sigma)[0][0] for g in curves])


def main():
    series = np.load(TARGET / "series.npy")
    truth = np.load(TARGET / "truth.npy")
    row, col = np.mgrid[: series.shape[3], : series.shape[4]]
    q = np.hypot(row - CENTER[0], col - CENTER[1]) * Q_STEP_PER_NM
    n_patterns = np.prod(series.shape[:3])

    def show(step, n_bytes, seconds):
        print(f"| {step} | NumPy, SciPy | {n_patterns / seconds:.0f} | {n_bytes / 1e9 / seconds:.3f} "
              f"| {seconds:.4f} |")

    print("| step | version | patterns/s | GB/s | s |")
    print("|---|---|---|---|---|")
    seconds, (annulus, mean_pattern, virtual, q_sums) = fastest(lambda: reduce(series, q))
    show("reduce", series.nbytes, seconds)
    assert np.isclose(mean_pattern.sum(), virtual.mean()) and np.isclose(q_sums.sum(), virtual.sum())
    q_annulus = q[(ANNULUS[0] <= q) & (q < ANNULUS[1])]
    inside = (RING[0] <= q_annulus) & (q_annulus < RING[1])
    # Taking the ring out of the annulus is part of the job, as it is for halotau.
    seconds, curves = fastest(lambda: correlate(annulus[..., inside]))
    n_bytes = n_patterns * inside.sum() * annulus.itemsize
    show("correlate", n_bytes, seconds)
    seconds, tau_s = fastest(lambda: fit(curves), runs=1)
    show("fit", n_bytes, seconds)
    median = np.median(tau_s / truth)
    assert abs(median - 1) < 0.05, median
    print(f"\nmedian of tau / truth {median:.3f}")


if __name__ == "__main__":
    main()
