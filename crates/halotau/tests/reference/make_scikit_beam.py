"""Two-time and one-time correlation of one position by scikit-beam, an independent program. Writes `scikit_beam.json`.

Run by hand in an environment with scikit-beam (the README has the version); its many dependencies are not
installed by the tests.
"""

import json
from pathlib import Path

import numpy as np
import skbeam
from skbeam.core.correlation import one_time_from_two_time, two_time_corr

from definitions import q_map, ring_mask

HERE = Path(__file__).parent


def main():
    settings = json.loads((HERE / "settings.json").read_text())
    series = np.load(HERE / "series.npy")
    valid = np.load(HERE / "mask.npy") != 0
    q = q_map(valid.shape, settings["center"], settings["q_step_per_nm"])
    labels = ring_mask(q, valid, settings["ring_per_nm"]).astype(int)
    row, col = settings["scikit_beam_position"]
    frames = series[:, row, col].astype(float)
    matrix = two_time_corr(labels, frames, len(frames), len(frames)).g2
    curve = one_time_from_two_time(matrix)
    (HERE / "scikit_beam.json").write_text(json.dumps({
        "version": skbeam.__version__,
        "position": [row, col],
        "two_time": matrix[0].tolist(),
        "one_time": curve[0].tolist(),
    }) + "\n")


if __name__ == "__main__":
    main()
