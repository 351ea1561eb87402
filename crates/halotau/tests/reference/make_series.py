"""Draws `series.npy` and `mask.npy`: a small series of integer counts with speckle, halo, gain and beam stop.

Run once; the files are kept, because NumPy's random streams may change between versions.
The fields are Gaussian and correlated in time by tau (one a position) and over about three pixels.
"""

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

HERE = Path(__file__).parent


def main():
    settings = json.loads((HERE / "settings.json").read_text())
    times = np.array(settings["times_s"])
    rows, cols, side = 3, 4, 24
    rng = np.random.default_rng(20240577)
    row, col = np.mgrid[:side, :side]
    dy, dx = row - settings["center"][0], col - settings["center"][1]
    q = np.hypot(dy, dx) * settings["q_step_per_nm"]
    halo = 14 * np.exp(-(((q - 3.7) / 1.1) ** 2)) + 3
    halo *= 1 + 0.15 * np.cos(2 * np.arctan2(dy, dx) - 0.4)  # static structure, for the flattening
    halo *= rng.normal(1.0, 0.05, (side, side))
    valid = np.hypot(dy, dx) > 2.6
    valid &= ~((np.abs(dy) < 1.2) & (dx > 0))
    valid[3, 9] = valid[17, 16] = valid[12, 3] = False

    def field():
        noise = rng.normal(size=(2, side, side))
        smooth = gaussian_filter(noise, (0, 1.2, 1.2), mode="wrap")
        return (smooth[0] + 1j * smooth[1]) / np.sqrt(2 * smooth.var())

    tau = np.geomspace(25, 130, rows * cols)[rng.permutation(rows * cols)].reshape(rows, cols)
    counts = np.empty((len(times), rows, cols, side, side), "u2")
    for r in range(rows):
        for c in range(cols):
            amplitude = field()
            for t, now in enumerate(times):
                if t:
                    keep = np.exp(-(now - times[t - 1]) / tau[r, c])
                    amplitude = keep * amplitude + np.sqrt(1 - keep**2) * field()
                beam = 1 + 0.1 * np.sin(t)
                counts[t, r, c] = rng.poisson(beam * halo * (0.3 + 0.7 * np.abs(amplitude) ** 2))
    np.save(HERE / "series.npy", counts)
    np.save(HERE / "mask.npy", valid.astype("u1"))


if __name__ == "__main__":
    main()
