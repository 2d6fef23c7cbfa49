"""The matcher of SiamFC: the template's features laid over the frame's."""

from __future__ import annotations

from torch import Tensor

from refdet_core.model.config import SiameseConfig
from refdet_core.model.correlation import correlate
from refdet_core.model.matcher import Matcher


class Correlation(Matcher):
    """Full cross-correlation, all channels summed to one response, times a small factor that keeps
    the logistic loss in its range (SiamFC, Bertinetto et al. 2016, equation 1)."""

    def __init__(self, kernel_cells: int, scale: float) -> None:
        super().__init__()
        self.out_channels = 1
        self.lost_cells = kernel_cells - 1
        self.scale = scale

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        return cls(kernel_cells, config.response_scale)

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        return correlate(frame, kernel.unsqueeze(1)) * self.scale
