"""Computes the reference values that `reference.rs` compares with. See README.md for every key.

    python make_reference.py            writes expected.json
    python make_reference.py --foreign  writes foreign.json as well (needs HALOTAU_SAMPLES, h5py and zarr)
    python make_reference.py --check    recomputes and compares with the stored files; foreign.json where
                                        HALOTAU_SAMPLES holds the data
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import definitions as d

HERE = Path(__file__).parent

# Recomputed on another computer, sums may differ in their last bits, and a fit by what its tolerances allow.
CHECK_TOLERANCE = 1e-6


def load():
    settings = json.loads((HERE / "settings.json").read_text())
    series = np.load(HERE / "series.npy").astype(float).transpose(1, 2, 0, 3, 4)  # row, col, time, ...
    valid = np.load(HERE / "mask.npy") != 0
    q = d.q_map(valid.shape, settings["center"], settings["q_step_per_nm"])
    return settings, series, valid, q


def positions(array, function):
    """The function of every position, [row, col, ...]."""
    return np.array([[function(position) for position in row] for row in array])


def correlation(settings, series, valid, q):
    """G and g in every normalization on the ring."""
    ring_per_nm = settings["ring_per_nm"]
    inside = d.ring_mask(q, valid, ring_per_nm)
    # No pixel may lie so close to an edge that rounding decides.
    for edge in [*ring_per_nm, *settings["band_per_nm"]]:
        assert np.abs(q[valid] - edge).min() > 1e-6, edge
    ring = series[..., inside]
    m = d.mean_ring(ring)
    radial = d.radial_mean_ring(m, q[inside], ring_per_nm[0], settings["q_step_per_nm"])

    def flat_curve(mean):
        return positions(ring, lambda x: d.one_time(d.two_time(d.flattened(x, mean))))

    return {
        "n_ring_pixels": int(inside.sum()),
        "ring_mean": positions(ring, lambda x: x.mean(1)),
        "two_time": positions(ring, d.two_time),
        "g_ring": positions(ring, lambda x: d.one_time(d.two_time(x))),
        "g_flattened_pixel": flat_curve(m),
        "g_flattened_radial": flat_curve(radial),
        "g_per_pixel": positions(ring, d.per_pixel),
        "mean_ring": m,
        "mean_ring_radial": radial,
    }


def fluctuation(settings, series, valid, q):
    """V of the band in every grouping and noise treatment."""
    band_per_nm = settings["band_per_nm"]
    inside = d.ring_mask(q, valid, band_per_nm)
    band = series[..., inside]
    rings = d.ring_numbers(q[inside], band_per_nm[0], settings["q_step_per_nm"])
    noise = (settings["gain"], settings["excess_factor"])
    statistics = {
        "raw": d.raw,
        "counting": lambda x: d.counting(x, *noise),
        "finite_counting": lambda x: d.finite_counting(x, *noise),
        "factorial": d.factorial,
        "two_frame": d.two_frame,
    }
    out = {
        "n_band_pixels": int(inside.sum()),
        "pixels_per_ring": np.bincount(rings),
        "mean_counts": positions(band, np.mean),
    }
    for grouping, groups in [("ring", rings), ("band", np.zeros_like(rings))]:
        for name, statistic in statistics.items():
            out[f"{name}_{grouping}"] = positions(band, lambda x: d.variance(x, groups, statistic))
    return out


def lags(times_s):
    """Mean time between scans so many apart, and the number of pairs. [lag]"""
    times_s = np.asarray(times_s)
    n = len(times_s)
    return np.array([(times_s[k:] - times_s[:-k]).mean() for k in range(1, n)]), np.arange(n - 1, 0, -1)


def bounds(times_s):
    """Bounds of tau: 0.1 mean steps to 100 records."""
    step = (times_s[-1] - times_s[0]) / (len(times_s) - 1)
    return 0.1 * step, 100 * step * len(times_s)


def fits(settings, g_ring):
    """Fits of the series' curves, and of synthetic curves where every parameter is well determined."""
    lag_s, n_pairs = lags(settings["times_s"])
    tau_bounds_s = bounds(settings["times_s"])
    out = {"lag_s": lag_s, "n_pairs": n_pairs}
    for name, weights in [("pair_weights", n_pairs), ("uniform_weights", np.ones(len(lag_s)))]:
        fitted = [[d.fit_kww(lag_s, g, weights, tau_bounds_s=tau_bounds_s) for g in row] for row in g_ring]
        out[name] = {
            key: [[None if f is None else f[key] for f in row] for row in fitted]
            for key in ["tau_s", "contrast"]
        }
    out["synthetic"] = [synthetic(*case) for case in [
        # contrast, tau_s, stretch, baseline, factor, free stretch, free baseline, finite window
        (0.30, 80.0, 1.0, 1.0, 2.0, False, False, False),
        (0.30, 80.0, 1.0, 1.0, 1.0, False, False, False),
        (0.20, 120.0, 0.6, 1.0, 2.0, True, False, False),
        (0.20, 60.0, 1.5, 1.0, 1.0, True, False, False),
        (0.25, 50.0, 1.0, 1.04, 2.0, False, True, False),
        (0.25, 50.0, 0.8, 1.03, 2.0, True, True, False),
        (0.30, 90.0, 1.0, 1.0, 2.0, False, False, True),
        (0.30, 60.0, 0.7, 1.0, 1.0, True, False, True),
    ]]
    return out


def synthetic(contrast, tau_s, stretch, baseline, factor, free_stretch, free_baseline, window):
    """A curve of 59 lags of 5 s with a ripple instead of noise, and its fit with pair weights."""
    n_times, step_s = 60, 5.0
    k = np.arange(1, n_times)
    decay = d.kww(np.arange(n_times) * step_s, tau_s, stretch, factor)
    shape = d.in_window(decay, n_times, k) if window else decay[1:]
    g = baseline + contrast * shape + 0.004 * np.sin(1.7 * k) + 0.002 * np.cos(0.3 * k)
    found = d.fit_kww(k * step_s, g, n_times - k, factor, stretch,
                      stretch_bounds=(0.2, 3.0) if free_stretch else None,
                      baseline=None if free_baseline else 1.0,
                      tau_bounds_s=(0.1 * step_s, 100 * step_s * n_times), n_times=n_times if window else None)
    return {"exponent_factor": factor, "free_stretch": free_stretch, "free_baseline": free_baseline,
            "finite_window": window, "n_times": n_times, "lag_s": k * step_s, "g": g, "n_pairs": n_times - k,
            **found}


def relation(tau_s, v):
    """Spearman's rho with mid-ranks."""
    found = [(t, u) for t, u in zip(np.ravel(tau_s).tolist(), np.ravel(v).tolist()) if t is not None]
    ties = {"x": [1, 2, 2, 3, 5, 5, 5, 8, 9, 1], "y": [2, 1, 4, 4, 4, 7, 6, 7, 10, 3]}
    return {
        "tau_and_raw_ring": spearmanr(*np.array(found, float).T).statistic,
        "ties": {**ties, "spearman": spearmanr(ties["x"], ties["y"]).statistic},
    }


def temperatures():
    """Five temperatures, with and without errors, and with one left out."""
    temperature_k = np.array([633.0, 643.0, 653.0, 663.0, 673.0])
    tau_s = np.array([905.0, 731.0, 512.0, 451.0, 312.0])
    ln_tau_error = np.array([0.05, 0.04, 0.03, 0.06, 0.02])
    return {
        "temperature_k": temperature_k,
        "tau_s": tau_s,
        "ln_tau_error": ln_tau_error,
        "weighted": d.arrhenius(temperature_k, tau_s, ln_tau_error),
        "unweighted": d.arrhenius(temperature_k, tau_s),
        "leave_one_out_kj_per_mol": [
            d.arrhenius(np.delete(temperature_k, i), np.delete(tau_s, i), np.delete(ln_tau_error, i))[
                "activation_energy_kj_per_mol"]
            for i in range(len(tau_s))
        ],
    }


def expected():
    settings, series, valid, q = load()
    correlated = correlation(settings, series, valid, q)
    fluctuating = fluctuation(settings, series, valid, q)
    fitted = fits(settings, correlated["g_ring"])
    return plain({
        "correlation": correlated,
        "fluctuation": fluctuating,
        "relaxation": fitted,
        "relation": relation(fitted["pair_weights"]["tau_s"], fluctuating["raw_ring"]),
        "arrhenius": temperatures(),
    })


# The series of another generator

def foreign(samples):
    """Maps of the three temperatures of the foreign data, and their agreement with its truth."""
    folder = samples / "foreign"
    truth = np.load(folder / "truth.npz")
    q = d.q_map(truth["good"].shape, (33, 33), 0.23)
    ring = d.ring_mask(q, truth["good"], (4.2, 4.6))
    band = d.ring_mask(q, truth["good"], (3.0, 5.8))
    rings = d.ring_numbers(q[band], 3.0, 0.23)
    out = {"n_ring_pixels": int(ring.sum()), "n_band_pixels": int(band.sum()), "temperatures": []}
    for number, (temperature_k, period_s) in enumerate([(633, 9.2), (653, 4.8), (673, 4.8)]):
        x = read_foreign(folder, temperature_k).astype(float).transpose(1, 2, 0, 3, 4)
        n_times = x.shape[2]
        k = np.arange(1, n_times)
        tau_bounds_s = (0.1 * period_s, 100 * period_s * n_times)
        g_paper = positions(x[..., ring], fast_one_time)
        paper = fit_map(k * period_s, g_paper, np.ones(len(k)), tau_bounds_s)
        on_band = x[..., band]
        mean = d.radial_mean_ring(d.mean_ring(on_band), q[band], 3.0, 0.23)
        g_flat = positions(on_band, lambda y: fast_one_time(d.flattened(y, mean)))
        short = k <= n_times // 2
        flat = fit_map(k[short] * period_s, g_flat[..., short], n_times - k[short], tau_bounds_s)
        v_ring = positions(on_band, lambda y: d.variance(y, rings, d.raw))
        true = truth["tau"][number]
        out["temperatures"].append({
            "temperature_k": temperature_k,
            "period_s": period_s,
            "tau_paper_s": paper,
            "tau_flattened_s": flat,
            "raw_ring": v_ring,
            "raw_band": positions(on_band, lambda y: d.variance(y, np.zeros_like(rings), d.raw)),
            "factorial_ring": positions(on_band, lambda y: d.variance(y, rings, d.factorial)),
            "g_paper_first_position": g_paper[0, 0],
            "agreement": {
                "paper": agreement(paper, true),
                "flattened": agreement(flat, true),
                "raw_ring_less_truth_median": np.median(v_ring - truth["V"][number]),
            },
        })
    return plain(out, digits=10)


def fast_one_time(x):
    """As one_time(two_time(x)) with one matrix product: 216 positions of 106 scans would take minutes otherwise."""
    m = x.mean(1)
    return d.one_time(x @ x.T / x.shape[1] / np.outer(m, m))


def fit_map(lag_s, g, weights, tau_bounds_s):
    fitted = [d.fit_kww(lag_s, curve, weights, tau_bounds_s=tau_bounds_s) for row in g for curve in row]
    return np.array([np.nan if f is None else f["tau_s"] for f in fitted]).reshape(g.shape[:2])


def agreement(tau_s, true_s):
    there = np.isfinite(tau_s)
    return {
        "n": int(there.sum()),
        "median_relative_error": np.median(np.abs(tau_s[there] / true_s[there] - 1)),
        "median_ratio": np.median(tau_s[there] / true_s[there]),
        "spearman": spearmanr(tau_s[there], true_s[there]).statistic,
    }


def read_foreign(folder, temperature_k):
    if temperature_k == 653:
        import zarr

        return np.asarray(zarr.open(folder / "T653.zarr", mode="r"))
    import h5py

    with h5py.File(folder / f"T{temperature_k}.h5") as file:
        return file["data"][:]


# Files

def plain(value, digits=None):
    """Numbers and lists for JSON; NaN becomes null."""
    if isinstance(value, dict):
        return {key: plain(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item, digits) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, np.integer):
        return int(value)
    value = float(value)
    if np.isnan(value):
        return None
    return float(f"{value:.{digits}g}") if digits else value


def write(name, value):
    (HERE / name).write_text(json.dumps(value) + "\n")


def compare(name, where, stored, computed):
    """Stops at the first value that differs."""
    if isinstance(stored, dict):
        assert stored.keys() == computed.keys(), (name, where)
        for key in stored:
            compare(name, f"{where}.{key}", stored[key], computed[key])
    elif isinstance(stored, list):
        assert len(stored) == len(computed), (name, where)
        for index, (a, b) in enumerate(zip(stored, computed)):
            compare(name, f"{where}[{index}]", a, b)
    elif isinstance(stored, float):
        if not np.isclose(computed, stored, rtol=CHECK_TOLERANCE, atol=1e-12):
            sys.exit(f"{name}{where}: stored {stored!r}, recomputed {computed!r}")
    elif stored != computed:
        sys.exit(f"{name}{where}: stored {stored!r}, recomputed {computed!r}")


def check(name, computed):
    compare(name, "", json.loads((HERE / name).read_text()), computed)
    print(f"{name} follows from the script")


def check_scikit_beam(computed):
    """scikit-beam's own values against the definition; written by make_scikit_beam.py."""
    stored = json.loads((HERE / "scikit_beam.json").read_text())
    row, col = stored["position"]
    compare("scikit_beam.json", ".two_time", stored["two_time"], computed["correlation"]["two_time"][row][col])
    compare("scikit_beam.json", ".one_time", stored["one_time"][1:], computed["correlation"]["g_ring"][row][col])
    print("scikit_beam.json agrees with the definitions")


def main():
    arguments = sys.argv[1:]
    samples = os.environ.get("HALOTAU_SAMPLES")
    samples = Path(samples) if samples and (Path(samples) / "foreign").is_dir() else None
    computed = expected()
    if arguments == ["--check"]:
        check("expected.json", computed)
        check_scikit_beam(computed)
        if samples:
            check("foreign.json", foreign(samples))
    elif arguments in ([], ["--foreign"]):
        write("expected.json", computed)
        if arguments:
            if not samples:
                sys.exit("HALOTAU_SAMPLES names no folder with foreign/ in it")
            found = foreign(samples)
            write("foreign.json", found)
            for temperature in found["temperatures"]:
                print(temperature["temperature_k"], json.dumps(temperature["agreement"]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
