"""Videos for tests that ``cv2.VideoWriter`` cannot write by itself."""

from __future__ import annotations

import struct

import cv2
import numpy as np


def write_video(path, levels, fps=10.0, size=(64, 48)):
    """A video of plain grey frames, in the codec that belongs to the suffix."""
    codec = "mp4v" if path.suffix in (".mp4", ".m4v") else "MJPG"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for level in levels:
        writer.write(np.full((size[1], size[0], 3), level, np.uint8))
    writer.release()
    return path


def set_times(path, times_s):
    """Give the frames of an MP4 that was just written these times, rising from 0."""
    data = bytearray(path.read_bytes())
    (scale,) = struct.unpack_from(
        ">I", data, _find(data, b"moov", b"trak", b"mdia", b"mdhd")[-1] + 20
    )
    # The edit list would cut the video off where it used to end.
    place = _find(data, b"moov", b"trak", b"edts")[-1] + 4
    data[place : place + 4] = b"free"
    ticks = [round(time_s * scale) for time_s in times_s]
    steps = [after - before for before, after in zip(ticks, ticks[1:])] + [1]
    entries = b"".join(struct.pack(">II", 1, step) for step in steps)
    table = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(steps)) + entries
    chain = _find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
    (old,) = struct.unpack_from(">I", data, chain[-1])
    for start in chain[:-1]:
        (length,) = struct.unpack_from(">I", data, start)
        struct.pack_into(">I", data, start, length + len(table) - old)
    data[chain[-1] : chain[-1] + old] = table
    path.write_bytes(data)
    return path


def write_deep_grey(path, frames, fps=10.0):
    """A video of ``(H, W)`` uint16 frames without loss; False if this OpenCV cannot write it."""
    if not hasattr(cv2, "VIDEOWRITER_PROP_DEPTH"):
        return False
    height, width = frames[0].shape
    options = [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U, cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    codec = cv2.VideoWriter_fourcc(*"FFV1")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, (width, height), options)
    if not writer.isOpened():
        return False
    for frame in frames:
        writer.write(frame)
    writer.release()
    return True


def _find(data, *names):
    """Where each box of a path begins, the outermost first."""
    found, start, end = [], 0, len(data)
    for name in names:
        while start < end:
            length, kind = struct.unpack_from(">I4s", data, start)
            if kind == name:
                break
            start += length
        assert start < end, f"no box {name}"
        found.append(start)
        start, end = start + 8, start + length
    return found
