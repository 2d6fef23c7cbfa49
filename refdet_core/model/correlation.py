"""Cross-correlation without padding, and without convolutions whose weights come at run time.

TensorRT up to 8.4 rejects such convolutions. A sum over kernel cells of shifted products equals
them; each function here is tested against ``torch.nn.functional.conv2d``.
"""

from __future__ import annotations

from typing import List, Optional

import torch
from torch import Tensor


def correlate(frame: Tensor, kernel: Tensor) -> Tensor:
    """Every kernel laid over every place of every frame, channels summed (SiamFC, SiamRPN).

    One matrix product compares every kernel cell with every frame cell; the results are shifted
    by the cell's offset and summed.

    Shape: ``frame (B, C, h, w)``, ``kernel (V, O, C, k, k)`` to
    ``(B, V, O, h - k + 1, w - k + 1)``.
    """
    views, outputs, channels, size = kernel.shape[0], kernel.shape[1], *kernel.shape[2:4]
    batch, _, height, width = frame.shape
    weights = kernel.permute(3, 4, 0, 1, 2).reshape(-1, channels)  # (k k V O, C)
    products = torch.matmul(weights, frame.reshape(batch, channels, height * width))
    products = products.reshape(batch, size * size, views * outputs, height, width)
    parts = [
        _shifted(products[:, row * size + column], row, column, size)
        for row in range(size)
        for column in range(size)
    ]
    summed = _sum(parts)
    return summed.reshape(batch, views, outputs, height - size + 1, width - size + 1)


def correlate_depthwise(frame: Tensor, kernel: Tensor) -> Tensor:
    """Every channel of every kernel laid over the same channel of every frame (SiamRPN++).

    Shape: ``frame (B, C, h, w)``, ``kernel (V, C, k, k)`` to
    ``(B, V, C, h - k + 1, w - k + 1)``.
    """
    size = kernel.shape[-1]
    parts = [
        _shifted(frame, row, column, size).unsqueeze(1)
        * kernel[:, :, row, column].unsqueeze(0).unsqueeze(3).unsqueeze(4)
        for row in range(size)
        for column in range(size)
    ]
    return _sum(parts)


def unit(features: Tensor) -> Tensor:
    """Scale every feature vector (dimension 1) to length 1."""
    return features * torch.rsqrt((features * features).sum(dim=1, keepdim=True) + 1e-6)


def _shifted(maps: Tensor, row: int, column: int, size: int) -> Tensor:
    """The cells under one kernel cell. Ends count from the back, so any map size works."""

    def end(start: int) -> Optional[int]:
        return start - size + 1 or None

    return maps[:, :, row : end(row), column : end(column)]


def _sum(parts: List[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
