"""Checks that a window gets the same score in a large frame as alone."""

from __future__ import annotations

import torch

from refdet_core.model.joined import Network

DENSE_TOLERANCE = 1e-3


def dense_difference(model: Network) -> float:
    """Largest difference between the scores of windows in one frame and of the same windows one by
    one, on random input."""
    config = model.config
    window, stride = config.template_size, config.embedding_stride
    generator = torch.Generator().manual_seed(0)
    bands = config.input_bands
    frame = torch.rand(1, bands, window + stride, window + 2 * stride, generator=generator) * 255
    windows = [
        frame[:, :, y : y + window, x : x + window]
        for y in (0, stride)
        for x in (0, stride, 2 * stride)
    ]
    with torch.no_grad():
        kernel = model.encode_template(windows[0])
        together = model.match(model.encode_frame(frame), kernel).score
        alone = model.match(model.encode_frame(torch.cat(windows)), kernel).score
    return float((torch.sigmoid(together.flatten()) - torch.sigmoid(alone.flatten())).abs().max())
