"""Cuts crops out of a frame on the GPU, as ``imaging.extract`` and ``to_blob`` do on the CPU.

Each call uploads only the part of the frame that the crops show: a search window costs little, and
tiles cost the frame once. Nothing is cached, so the caller may overwrite the frame afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np

from refdet_core.backends.cuda import Gpu, PinnedMemory
from refdet_core.backends.device_pool import Block, DevicePool
from refdet_core.imaging import Crop, border_colour

_SOURCE = Path(__file__).with_name("gpu_crops.cu")
_TABLE_ALIGNMENT = 256
_COLUMNS = 12
_BLOCK = (32, 8, 1)
PIXEL_TOLERANCE = 1
"""Grey levels by which a pixel may differ from OpenCV's."""


def crop_table(frame_bgr: np.ndarray, crops: Sequence[Crop]) -> np.ndarray:
    """The parameters of each crop for ``gpu_crops.cu``.

    Args:
        frame_bgr: ``(H, W, 3)`` uint8.

    Returns:
        ``(B, 12)`` int32: x, y, width and height of the visible part in the frame; left, top,
        width and height of where it comes to lie in the crop; 1 to average over areas; zeros up to
        here for a crop outside the frame. Then the border's blue, green and red.
    """
    frame_size = frame_bgr.shape[1], frame_bgr.shape[0]
    colours = {crop.border: border_colour(crop.border, frame_bgr) for crop in crops}
    rows = [(*_row(frame_size, crop), *colours[crop.border]) for crop in crops]
    return np.array(rows, dtype=np.int32)


def _row(frame_size: Tuple[int, int], crop: Crop) -> Tuple[int, ...]:
    """The same rectangles and choice of interpolation as :func:`refdet_core.imaging.extract`."""
    x1, y1 = max(crop.x, 0), max(crop.y, 0)
    x2 = min(crop.x + crop.width, frame_size[0])
    y2 = min(crop.y + crop.height, frame_size[1])
    if x2 <= x1 or y2 <= y1:
        return (0,) * 9
    scale_x, scale_y = crop.out_width / crop.width, crop.out_height / crop.height
    left, top = round((x1 - crop.x) * scale_x), round((y1 - crop.y) * scale_y)
    right = min(crop.out_width, max(left + 1, round((x2 - crop.x) * scale_x)))
    bottom = min(crop.out_height, max(top + 1, round((y2 - crop.y) * scale_y)))
    left, top = min(left, crop.out_width - 1), min(top, crop.out_height - 1)
    width, height = right - left, bottom - top
    area = width * 3 < (x2 - x1) * 2 and height * 3 < (y2 - y1) * 2
    return x1, y1, x2 - x1, y2 - y1, left, top, width, height, int(area)


@dataclass(frozen=True)
class DeviceCrops:
    """Crops of one frame whose pixels are on the device; they are not cut yet.

    Attributes:
        count: number of crops.
        out_size: ``(width, height)`` of each.
        pitch: bytes of a row of pixels.
        pixels, table: device addresses of the pixels and of the table of crops.
    """

    count: int
    out_size: Tuple[int, int]
    pitch: int
    pixels: int
    table: int
    block: Block

    @property
    def shape(self) -> Tuple[int, int, int, int]:
        """``(B, 3, H, W)`` of the network's input."""
        return self.count, 3, self.out_size[1], self.out_size[0]


class GpuCropper:
    """Uploads pieces of frames and cuts crops out of them."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._pool = DevicePool(gpu)
        self._staging: Optional[PinnedMemory] = None
        self._kernel = gpu.compile(_SOURCE, "crop_tiles", "PiPPii")

    def upload(self, frame_bgr: np.ndarray, crops: Sequence[Crop]) -> DeviceCrops:
        """Upload the part of the frame that the crops show.

        Args:
            frame_bgr: ``(H, W, 3)`` uint8; it may be overwritten when this returns.
            crops: one or more of one output size.
        """
        table = crop_table(frame_bgr, crops)
        piece = _shown(frame_bgr, table)
        pixels_size = -(-piece.size // _TABLE_ALIGNMENT) * _TABLE_ALIGNMENT
        size = pixels_size + table.nbytes
        block = self._pool.take(size)
        staging = self._staging_of(size)
        staging.array(piece.shape, np.uint8)[:] = piece
        staged = staging.array((size,), np.uint8)
        staged[pixels_size:] = table.reshape(-1).view(np.uint8)
        self._gpu.copy_to_device(block.address, staged)
        return DeviceCrops(
            len(crops),
            (crops[0].out_width, crops[0].out_height),
            3 * piece.shape[1],
            block.address,
            block.address + pixels_size,
            block,
        )

    def cut(self, crops: DeviceCrops, start: int, end: int, planes: int) -> None:
        """Write some of the crops as ``(end - start, 3, H, W)`` float32 RGB 0-255 to an address."""
        width, height = crops.out_size
        grid = (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]), end - start)
        table = crops.table + start * _COLUMNS * 4
        self._kernel.launch(
            grid,
            _BLOCK,
            crops.pixels,
            crops.pitch,
            table,
            planes,
            width,
            height,
        )

    def _staging_of(self, size: int) -> PinnedMemory:
        """Pinned memory that no copy reads."""
        self._gpu.synchronize()
        staging = self._staging
        if staging is None or staging.size < size:
            self._staging = None
            if staging is not None:
                self._gpu.free(staging)
            staging = self._staging = self._gpu.allocate_pinned(1 << (size - 1).bit_length())
        return staging


def _shown(frame_bgr: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The smallest part of the frame that holds all visible parts; the table's x and y become
    relative to it. One pixel if nothing is visible."""
    visible = table[table[:, 2] > 0]
    if not len(visible):
        return frame_bgr[:1, :1]
    x1, y1 = visible[:, :2].min(axis=0)
    x2, y2 = (visible[:, :2] + visible[:, 2:4]).max(axis=0)
    table[:, :2] -= (x1, y1)
    return frame_bgr[y1:y2, x1:x2]
