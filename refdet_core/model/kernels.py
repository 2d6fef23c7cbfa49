"""From a template's features to the kernel that is compared with frames."""

from __future__ import annotations

from typing import Callable, Dict, Tuple

import torch.nn.functional as F
from torch import Tensor

from refdet_core.errors import ConfigError

_CONTEXT_SHARE = 0.75
"""Share of the template crop's side that becomes a pooled kernel: the object (half of the side at
SiamFC's context 0.5) and a margin around it."""


def pooled(features: Tensor, side: int, size: int) -> Tensor:
    """The centre of the feature map averaged to ``size x size`` cells."""
    cell = max(1, int(_CONTEXT_SHARE * side) // size)
    start = (side - cell * size) // 2
    end = start + cell * size
    return F.avg_pool2d(features[:, :, start:end, start:end], cell)


def centre(features: Tensor, side: int, size: int) -> Tensor:
    """The ``size x size`` cells in the middle (SiamRPN++)."""
    start = centre_start(side, size)
    return features[:, :, start : start + size, start : start + size]


def whole(features: Tensor, side: int, size: int) -> Tensor:
    """All cells (SiamFC, SiamRPN)."""
    return features


def centre_start(side: int, size: int) -> int:
    """The first cell that :func:`centre` takes of a row of ``side`` cells."""
    return (side - size) // 2


KERNELS: Dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "pooled": pooled,
    "centre": centre,
    "whole": whole,
}
"""Each maps features ``(V, C, s, s)``, their side and ``kernel_size`` to ``(V, C, k, k)``. The side
is given because an exported graph would read it from the features at run time."""


def kernel_cells(name: str, side: int, size: int) -> Tuple[int, int]:
    """First cell and number of cells, along one axis, of the kernel taken from ``side`` cells.

    Raises:
        ConfigError: an unknown name, or more cells than there are.
    """
    if name not in KERNELS:
        raise ConfigError(f"Unknown kernel '{name}'; valid are {', '.join(KERNELS)}.")
    if name == "whole":
        return 0, side
    if size > side:
        raise ConfigError(f"kernel_size is {size}, but the template has {side} cells per side.")
    return (centre_start(side, size) if name == "centre" else 0), size
