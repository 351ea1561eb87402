"""Writes the Zarr store of halotau from any file that RosettaSciIO reads.

For files whose format halotau does not know itself (`halotau inspect FILE` says so):

    python -m pip install rosettasciio[all] zarr
    python convert_any.py INPUT OUTPUT.zarr
    halotau inspect OUTPUT.zarr

The data of a series has the axes (time, scan row, scan column, pattern row, pattern column); that of one scan lacks the
first, a stack of frames the first two. It is read lazily where the format allows it, one scan row at a time, so that
memory holds one row of patterns. Number types are kept. Scales are taken over where their units are lengths (scan) or
inverse lengths (pattern); everything else is given in the recipe.
"""

import argparse
import importlib
import pathlib
import sys

import numpy as np
import zarr

# Factors to nm and to 1/nm by the spellings of units that programs use.
NANOMETERS = {"m": 1e9, "mm": 1e6, "um": 1e3, "µm": 1e3, "μm": 1e3, "nm": 1.0, "Å": 0.1, "A": 0.1, "pm": 1e-3}
PER_NANOMETER = {"1/nm": 1.0, "nm^-1": 1.0, "1/Å": 10.0, "1/A": 10.0, "A^-1": 10.0, "Å^-1": 10.0, "1/m": 1e-9}
COLUMNS_AT_ONCE = 8
TIMES_AT_ONCE = 16


def signals_of(path, name):
    """All signals of a file, by the plugin of a format or by the ending of the file's name."""
    from rsciio import IO_PLUGINS

    ending = pathlib.Path(path).suffix.lower().lstrip(".")
    fits = [
        plugin
        for plugin in IO_PLUGINS
        if (plugin["name"].lower() == name.lower() if name else ending in plugin["file_extensions"])
    ]
    if not fits:
        sys.exit(f"no plugin of RosettaSciIO for {name or '.' + ending}; give one with --format NAME")
    reader = importlib.import_module(fits[0]["api"])
    try:
        return reader.file_reader(str(path), lazy=True)
    except (TypeError, NotImplementedError):
        return reader.file_reader(str(path))


def five_axes(signal):
    """The data with five axes, and the notes on the axes that there are, slowest first."""
    data = signal["data"]
    if not 2 <= data.ndim <= 5:
        sys.exit(f"the signal has {data.ndim} axes; frames have 2 and a series 5")
    notes = sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))
    missing = 5 - data.ndim
    return data.reshape((1,) * missing + data.shape), [{}] * missing + notes


def attributes_of(notes):
    """Scales in the words that halotau knows."""
    found = {}
    for note, factors, key in ((notes[2], NANOMETERS, "step_nm"), (notes[4], PER_NANOMETER, "q_step_per_nm")):
        factor = factors.get(str(note.get("units", "")).strip())
        scale = note.get("scale")
        if factor and scale and np.isfinite(scale) and scale > 0:
            found[key] = float(scale) * factor
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path, help="a folder that is not there yet, OUTPUT.zarr")
    parser.add_argument("--signal", type=int, help="which signal of the file, from 0; the largest unless given")
    parser.add_argument("--format", help="name of the plugin of RosettaSciIO, such as Blockfile")
    arguments = parser.parse_args()
    if arguments.output.exists():
        sys.exit(f"{arguments.output} is there already; remove it or give another name")
    signals = signals_of(arguments.input, arguments.format)
    if arguments.signal is None:
        signal = max(signals, key=lambda signal: np.prod(signal["data"].shape, dtype=float))
    else:
        signal = signals[arguments.signal]
    data, notes = five_axes(signal)
    times, rows, columns, height, width = data.shape
    array = zarr.create_array(
        str(arguments.output),
        shape=data.shape,
        dtype=data.dtype,
        chunks=(min(times, TIMES_AT_ONCE), 1, min(columns, COLUMNS_AT_ONCE), height, width),
        dimension_names=("time", "row", "col", "pattern_row", "pattern_col"),
        attributes=attributes_of(notes),
        # A block that is not there means a broken copy, so blocks without counts are written too.
        config={"write_empty_chunks": True},
    )
    for first in range(0, times, TIMES_AT_ONCE):
        last = min(times, first + TIMES_AT_ONCE)
        for row in range(rows):
            array[first:last, row] = np.asarray(data[first:last, row])
        print(f"time {last} of {times}", file=sys.stderr)
    print(f"wrote {arguments.output}: shape {data.shape}, {data.dtype}")


if __name__ == "__main__":
    main()
