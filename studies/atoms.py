"""Are the answers right for a sample of atoms that another program made?

NumPy alone: atoms in a slab, each moved by whole units (one atom, or an icosahedron of 13) that are drawn anew at the rate 1/tau of
their place; the probe is the Fourier transform of a round aperture, a pattern the squared transform of probe times atoms, layers of
the slab added without interference. So speckle, its coherence on the detector and between positions, and its mixing of neighboring
times come from the atoms; nothing of halotau's simulation is used. Then `halotau run` with the profile `recommended`.

    python atoms.py HALOTAU FOLDER gas tau=600 sigma=0 seed=1

Keys: tau (s), sigma of ln tau and its length (nm), thickness (nm), layers, counts a pixel at 4.2-4.6 1/nm, side (positions), step
(0.033 nm), drift over the record (the same), seed. The truth of a position is exp of ln tau averaged with the probe's intensity; its V
is the contrast of the patterns without noise.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import zarr
from scipy.fft import fft2
from scipy.ndimage import gaussian_filter
from scipy.special import j1

N_TIMES, PERIOD_S = 106, 9.9
SIDE, FINE = 66, 132
Q_STEP = 0.23
PIXEL_NM = 1 / Q_STEP / FINE
APERTURE_PER_NM = 1.6e-3 / 0.002508
ATOMS_PER_NM3 = 60.0
BOND_NM = 0.28
DEFAULTS = dict(tau=600.0, sigma=0.0, length=1.2, thickness=10.0, layers=2, counts=17.0, side=24, step=10, drift=0, seed=1)

RECIPE = """schema = 1
profile = "recommended"
[microscope]
voltage_kv = 200.0
convergence_mrad = 1.6
probe_fwhm_nm = 0.80
[scan]
step_nm = {step_nm}
[pattern]
q_step_per_nm = 0.23
[output]
folder = "results"
[[data]]
path = "series.npy"
temperature_k = 633.0
period_s = 9.9
"""


def icosahedron():
    golden = (1 + 5**0.5) / 2
    corners = [(0, a, b * golden) for a in (1, -1) for b in (1, -1)]
    corners = np.array([np.roll(corner, turn) for corner in corners for turn in range(3)])
    return np.vstack([np.zeros(3), BOND_NM * corners / np.linalg.norm(corners[0])])


def rotated(unit, n, generator):
    """Random rotations of a unit, projected, `[n, atom, 2]`."""
    w, x, y, z = (q := generator.standard_normal((n, 4))).T / np.linalg.norm(q, axis=1)
    first = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1)
    second = np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1)
    return np.einsum("nki,ai->nak", np.stack([first, second], 1), unit)


def simulate(folder, kind, side, step, drift, layers, seed, tau, sigma, length, thickness, counts):
    generator = np.random.default_rng(seed)
    extent = side * step + FINE + drift + 8
    axis = (np.arange(FINE) - FINE / 2) * PIXEL_NM
    radius = np.hypot(*np.meshgrid(axis, axis, indexing="ij"))
    x = 2 * np.pi * APERTURE_PER_NM * radius + 1e-9
    # Beyond the window of one pattern there is no probe.
    probe = 2 * j1(x) / x * np.clip((FINE * PIXEL_NM / 2 - radius) / 0.3, 0, 1)
    smooth = gaussian_filter(generator.standard_normal((extent, extent)), length / PIXEL_NM, mode="wrap")
    ln_tau = np.log(tau) + sigma * (smooth - smooth.mean()) / smooth.std()
    middle = slice(FINE // 2 - SIDE // 2, FINE // 2 + SIDE // 2)
    q = np.hypot(*np.meshgrid(*2 * [np.fft.fftshift(np.fft.fftfreq(FINE, PIXEL_NM))[middle]], indexing="ij"))
    unit = icosahedron() if kind == "clusters" else np.zeros((1, 3))
    # Of atoms without neighbors the halo is put in; icosahedra have one.
    weight = 1 / (1 + (q / 4) ** 2) ** 2 if kind == "clusters" else 0.3 * np.exp(-q / 2.5) + np.exp(-0.5 * ((q - 4.35) / 0.45) ** 2)
    n_units = int((extent * PIXEL_NM) ** 2 * thickness * ATOMS_PER_NM3) // len(unit)
    place = generator.uniform(0, extent * PIXEL_NM, (n_units, 2))
    layer = np.repeat(generator.integers(0, layers, n_units), len(unit))
    at = (place / PIXEL_NM).astype(int) % extent
    left = -np.expm1(-PERIOD_S / np.exp(ln_tau[at[:, 0], at[:, 1]]))

    def drawn(units):
        return place[units][:, None] + rotated(unit, len(units), generator) + generator.normal(0, 0.15, (len(units), 1, 2))

    atoms = drawn(np.arange(n_units))
    series = np.lib.format.open_memmap(folder / "series.npy", "w+", "<u2", (N_TIMES, side, side, SIDE, SIDE))
    ring = (q >= 4.2) & (q < 4.6)
    contrast, scale = np.zeros((side, side)), None
    for time in range(N_TIMES):
        if time > 0:
            again = np.flatnonzero(generator.random(n_units) < left)
            atoms[again] = drawn(again)
        projected = np.zeros((layers, extent, extent), np.float32)
        at = np.rint(atoms / PIXEL_NM).astype(int) % extent
        np.add.at(projected, (layer, at[..., 0].ravel(), at[..., 1].ravel()), 1)
        projected -= projected.mean((1, 2), keepdims=True)
        moved = round(drift * time / (N_TIMES - 1))
        for row in range(side):
            rows = projected[:, row * step + moved : row * step + moved + FINE]
            windows = np.stack([rows[:, :, col * step : col * step + FINE] for col in range(side)])
            waves = np.fft.fftshift(fft2((windows * probe).astype(np.complex64)), axes=(-2, -1))[..., middle, middle]
            pattern = (np.abs(waves) ** 2).sum(1) * weight
            scale = scale or counts / pattern[:, ring].mean()
            bright = scale * pattern[:, ring]
            contrast[row] += bright.var(1) / bright.mean(1) ** 2 / N_TIMES
            series[time, row] = generator.poisson(scale * pattern + 3000 * np.exp(-2 * q**2))
    seen = probe**2 / (probe**2).sum()
    truth = np.zeros((side, side))
    for row, col in np.ndindex(truth.shape):
        first = row * step + drift // 2
        truth[row, col] = np.exp((seen * ln_tau[first : first + FINE, col * step : col * step + FINE]).sum())
    return truth, contrast


def main():
    halotau, folder, kind = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), sys.argv[3]
    given = dict(argument.split("=") for argument in sys.argv[4:])
    settings = {key: type(default)(given.get(key, default)) for key, default in DEFAULTS.items()}
    assert kind in ("gas", "clusters") and set(given) <= set(DEFAULTS), "see the head of this file"
    folder.mkdir(parents=True, exist_ok=True)
    truth, contrast = simulate(folder, kind, **settings)
    (folder / "recipe.toml").write_text(RECIPE.format(step_nm=settings["step"] * PIXEL_NM))
    shutil.rmtree(folder / "results", ignore_errors=True)
    subprocess.run([halotau, "run", "recipe.toml", "--quiet"], cwd=folder, check=True)
    analysis = zarr.open(folder / "results" / "analysis.zarr")
    tau, lower, upper = (analysis[name][:] for name in ("tau_s", "tau_lower_s", "tau_upper_s"))
    there = np.isfinite(tau)
    off = np.log(tau[there] / truth[there])
    inside = (lower <= truth) & ~(upper < truth)
    print(
        f"{kind}, {given}: {there.sum()} positions, median {np.expm1(np.median(off)):+.3f}, "
        f"median off {np.median(np.abs(np.expm1(off))):.3f}, scatter {1.4826 * np.median(np.abs(off - np.median(off))):.3f}, "
        f"95 % covers {inside[there].mean():.2f}, contrast {contrast.mean():.3f}"
    )


if __name__ == "__main__":
    main()
