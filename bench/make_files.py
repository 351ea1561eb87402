"""Writes one scan in the layout of every format whose reading the benchmark times.

The scan is Poisson counts, [row, col, pattern row, pattern col]; formats of fewer bits hold the same counts. Beside the files
lies `files.json`: name, shape to ask for, and the sum of all samples, which the benchmark asserts.
"""

import json
import pathlib
import struct
import sys

import h5py
import hdf5plugin
import numpy as np
import tifffile
import zarr

ROWS, COLS, SIDE = 32, 64, 128
N_FRAMES = ROWS * COLS
MEAN_COUNTS = 1.5


def scan():
    counts = np.random.default_rng(1).poisson(MEAN_COUNTS, (ROWS, COLS, SIDE, SIDE))
    return counts.astype("<u2")


def records(header_of, frames):
    """Frames with a header before each, as bytes."""
    return b"".join(header_of(number) + frame.tobytes() for number, frame in enumerate(frames))


def npy(folder, counts):
    np.save(folder / "series.npy", counts[None])
    return "series.npy"


def zarr_plain(folder, counts, name="series.zarr", **options):
    zarr.create_array(str(folder / name), data=counts[None], chunks=(1, 1, 8, SIDE, SIDE), **options)
    return name


def zarr_uncompressed(folder, counts):
    return zarr_plain(folder, counts, "uncompressed.zarr", compressors=None)


def hdf5(folder, counts, name="series.h5", **options):
    with h5py.File(folder / name, "w") as file:
        file.create_dataset("data", data=counts[None], **options)
    return name


def hdf5_gzip(folder, counts):
    return hdf5(folder, counts, "gzip.h5", chunks=(1, 1, 8, SIDE, SIDE), compression="gzip", compression_opts=4, shuffle=True)


def dectris(folder, counts, name="dectris"):
    with h5py.File(folder / f"{name}_data_000001.h5", "w") as file:
        file.create_dataset(
            "entry/data/data",
            data=counts.reshape(N_FRAMES, SIDE, SIDE),
            chunks=(1, SIDE, SIDE),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
    with h5py.File(folder / f"{name}_master.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink(f"{name}_data_000001.h5", "entry/data/data")
        detector = file.create_group("entry/instrument/detector")
        detector["detectorSpecific/nimages"] = 1
        detector["detectorSpecific/ntrigger"] = N_FRAMES
    return f"{name}_master.h5"


def mib_header(kind, depth):
    def of(number):
        text = (
            f"MQ1,{number + 1:06d},00384,01,{SIDE:04d},{SIDE:04d},{kind},   1x1,01,2021-04-15 15:03:32.852759,0.001000,0,0,0,"
            f"{'0.0,' * 8}3RX,{'0,' * 27}MQ1A,2021-04-15T14:03:32.852759401Z,1000000ns,{depth}"
        )
        return text.encode().ljust(384, b"\0")

    return of


def mib(folder, counts):
    frames = counts.reshape(N_FRAMES, SIDE, SIDE).astype(">u2")
    (folder / "u16.mib").write_bytes(records(mib_header("U16", 12), frames))
    return "u16.mib"


def mib_raw(folder, counts):
    frames = counts.reshape(N_FRAMES, SIDE, SIDE // 4, 4)[..., ::-1].astype(">u2")
    (folder / "raw12.mib").write_bytes(records(mib_header("R64", 12), frames))
    return "raw12.mib"


def frms6(folder, counts):
    def header(n_frames):
        start = struct.pack("<HHBBBB80sHH928sI", 1024, 64, 1, 0, 0, 6, b"", 2 * SIDE, SIDE // 2, b"", n_frames)
        assert len(start) == 1024
        return start

    def frame_header(number):
        bits = struct.pack("<BBBBIIIdHHIQ24s", 0, 0, 0, 0, 1_600_000_000, number, number, 0.0, 0, SIDE // 2, 0, 0, b"")
        assert len(bits) == 64
        return bits

    half = SIDE // 2
    folded = np.concatenate([counts[:, :, :half], counts[:, :, half:][:, :, ::-1, ::-1]], axis=3)
    folded = folded.reshape(N_FRAMES, half, 2 * SIDE)
    folder = folder / "frms6"
    folder.mkdir(exist_ok=True)
    (folder / "scan_000.frms6").write_bytes(header(4) + records(frame_header, np.zeros((4, half, 2 * SIDE), "<u2")))
    (folder / "scan_001.frms6").write_bytes(header(N_FRAMES) + records(frame_header, folded))
    (folder / "scan.hdr").write_text(
        f"[measurementInfo]\ndarkframes = 4\nsignalframes = {N_FRAMES}\ndwelltimemicroseconds = 1000\ngain = 1\n"
        f'stemimagesize = "{ROWS}x{COLS}"\nreadoutmode = "bin: 1, windowing: 0 x 0 "\n'
    )
    return "frms6/scan.hdr"


def blo(folder, counts):
    header = bytearray(4096)
    header[:8] = b"IMGBLO\x02\x01"
    struct.pack_into("<IIIHHHHH", header, 8, 4096, 4096 + N_FRAMES, 0, SIDE, 0, COLS, ROWS, 0)
    frames = counts.reshape(N_FRAMES, SIDE, SIDE).astype("u1")
    body = records(lambda number: b"\xaa\x55" + struct.pack("<I", number + 1), frames)
    (folder / "scan.blo").write_bytes(bytes(header) + bytes(N_FRAMES) + body)
    return "scan.blo"


def mrc(folder, counts):
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, SIDE, SIDE, N_FRAMES, 6)
    header[208:216] = b"MAP \x44\x44\x00\x00"
    (folder / "scan.mrc").write_bytes(bytes(header) + counts.tobytes())
    return "scan.mrc"


def seq(folder, counts):
    image_bytes = 2 * SIDE * SIDE
    stride = -(-(image_bytes + 8) // 8192) * 8192
    header = bytearray(8192)
    struct.pack_into("<I24sii", header, 0, 0xFEED, "Norpix seq".encode("utf-16-le"), 5, 1024)
    struct.pack_into("<8I", header, 548, SIDE, SIDE, 16, 12, image_bytes, 100, N_FRAMES, 0)
    struct.pack_into("<Id", header, 580, stride, 1000.0)
    with open(folder / "scan.seq", "wb") as file:
        file.write(header)
        for number, frame in enumerate(counts.reshape(N_FRAMES, -1)):
            record = frame.tobytes() + struct.pack("<IHH", 1_600_000_000, number % 1000, 0)
            file.write(record.ljust(stride, b"\0"))
    return "scan.seq"


def empad(folder, counts):
    folder = folder / "empad"
    folder.mkdir(exist_ok=True)
    frames = np.zeros((N_FRAMES, 130, 128), "<f4")
    frames[:, :128] = counts.reshape(N_FRAMES, SIDE, SIDE)
    (folder / "scan.raw").write_bytes(frames.tobytes())
    (folder / "scan.xml").write_text(
        '<root name="scan"><raw_file filename="scan.raw"/><type>scan</type>'
        f"<pix_x>{COLS}</pix_x><pix_y>{ROWS}</pix_y></root>"
    )
    return "empad/scan.xml"


def tvips(folder, counts):
    header = bytearray(256)
    struct.pack_into("<II", header, 0, 256, 2)
    struct.pack_into("<3I", header, 8, SIDE, SIDE, 16)
    struct.pack_into("<I", header, 48, 80)

    def frame_header(number):
        return struct.pack("<III", number, 1_600_000_000, number % 1000).ljust(80, b"\0")

    body = records(frame_header, counts.reshape(N_FRAMES, SIDE, SIDE))
    (folder / "scan_000.tvips").write_bytes(bytes(header) + body)
    return "scan_000.tvips"


def tiff(folder, counts):
    tifffile.imwrite(folder / "scan.tif", counts.reshape(N_FRAMES, SIDE, SIDE), contiguous=True)
    return "scan.tif"


WRITERS = [npy, zarr_plain, zarr_uncompressed, hdf5, hdf5_gzip, dectris, mib, mib_raw, frms6, blo, mrc, seq, empad, tvips, tiff]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "files.json"
    if listed.exists():
        return
    counts = scan()
    files = [
        {"name": writer.__name__, "path": writer(folder, counts), "shape": [1, ROWS, COLS, 0, 0], "sum": int(counts.sum())}
        for writer in WRITERS
    ]
    listed.write_text(json.dumps(files))


if __name__ == "__main__":
    main()
