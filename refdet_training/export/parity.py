"""Checks that the exported graphs compute what the torch network computes."""

from __future__ import annotations

import numpy as np
import torch

from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.bundle import Bundle
from refdet_core.model.joined import Network

PARITY_TOLERANCE = 2e-3


def parity(model: Network, bundle: Bundle) -> float:
    """Largest difference between torch and ONNX Runtime on random input, over scores, presence and
    boxes (in units of the stride, of the box's longer side where that is more: an untrained network
    says boxes of thousands of pixels), at a size and batch the export did not see."""
    generator = torch.Generator().manual_seed(0)
    size = model.config.template_size
    images = torch.rand(3, model.config.input_bands, size, size, generator=generator) * 255
    multiple, lost = bundle.frame_multiple, sum(model.grid.missing)
    sides = (5 + lost) * multiple, (8 + lost) * multiple
    frames = torch.rand(2, model.config.input_bands, *sides, generator=generator) * 255
    with torch.no_grad():
        kernels = model.encode_template(images)
        expected = model(frames, kernels)
    with OnnxRuntimeBackend.open(bundle) as backend:
        features = backend.encode_templates(images.numpy())
        maps = backend.infer(frames.numpy(), features)
    boxes = expected[1].numpy()
    sides_px = (boxes[:, :, 2:] - boxes[:, :, :2]).max(axis=2, keepdims=True)
    differences = [
        np.abs(maps.score - expected[0].numpy()).max(),
        (np.abs(maps.box - boxes) / np.maximum(sides_px, bundle.stride)).max(),
        np.abs(maps.presence - expected[2].numpy()).max(),
    ]
    return float(max(differences))
