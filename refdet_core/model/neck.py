"""From backbone levels to one feature map."""

from __future__ import annotations

from typing import Dict, List, Sequence, Type

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.config import EMBEDDING, SiameseConfig
from refdet_core.model.embedding import EmbeddingNeck


class Neck(nn.Module):
    """Projects every level to ``channels`` with a 1x1 convolution and sums them, coarse levels
    enlarged (top-down pathway of FPN, Lin et al. 2017); one depthwise-separable 3x3 smooths.

    Shape: list of ``(B, C_i, h_i, w_i)``, finest first, to ``(B, channels, h_0, w_0)``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in in_channels)
        self.smooth = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, levels: List[Tensor]) -> Tensor:
        merged = self.project[-1](levels[-1])
        for project, level in zip(list(self.project)[-2::-1], levels[-2::-1]):
            enlarged = F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = project(level) + enlarged
        smoothed: Tensor = merged + self.smooth(merged)
        return smoothed


class LevelNeck(nn.Module):
    """Projects every level to ``channels`` with a 1x1 convolution and keeps them apart, one after
    the other (SiamRPN++, Li et al. 2019, section 3.4). All levels have the same size.

    Shape: list of L maps ``(B, C_i, h, w)`` to ``(B, L channels, h, w)``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, channels, 1, bias=False), nn.BatchNorm2d(channels))
            for count in in_channels
        )

    def forward(self, levels: List[Tensor]) -> Tensor:
        return torch.cat([project(level) for project, level in zip(self.project, levels)], dim=1)


class PyramidNeck(nn.Module):
    """Projects every level to ``channels`` with a 1x1 convolution and keeps them apart, one after
    the other, the coarse ones enlarged; one depthwise-separable 3x3 smooths the finest.

    Shape: list of L maps ``(B, C_i, h_i, w_i)``, finest first, to ``(B, L channels, h_0, w_0)``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        projections = [nn.Conv2d(count, channels, 1) for count in in_channels]
        for project in projections:
            # Distances between features survive a rotation, so training starts from them.
            nn.init.orthogonal_(project.weight.view(channels, -1))
        self.project = nn.ModuleList(projections)
        self.smooth = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, levels: List[Tensor]) -> Tensor:
        finest = self.project[0](levels[0])
        maps = [finest + self.smooth(finest)]
        for number, project in enumerate(list(self.project)[1:], start=1):
            factor = float(2**number)
            maps.append(F.interpolate(project(levels[number]), scale_factor=factor, mode="nearest"))
        return torch.cat(maps, dim=1)


class ProjectNeck(nn.Module):
    """One 1x1 convolution of the only level.

    Shape: list of one ``(B, C, h, w)`` to ``(B, channels, h, w)``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        _only(in_channels, "project")
        self.project = nn.Conv2d(in_channels[0], channels, 1)

    def forward(self, levels: List[Tensor]) -> Tensor:
        projected: Tensor = self.project(levels[0])
        return projected


class PlainNeck(nn.Module):
    """The only level as it is."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        _only(in_channels, "plain")
        if in_channels[0] != channels:
            raise ConfigError(
                f"The neck 'plain' keeps the backbone's {in_channels[0]} channels; set channels to "
                f"that, not to {channels}."
            )

    def forward(self, levels: List[Tensor]) -> Tensor:
        return levels[0]


NECKS: Dict[str, Type[nn.Module]] = {
    "fpn": Neck,
    "levels": LevelNeck,
    "pyramid": PyramidNeck,
    "project": ProjectNeck,
    "plain": PlainNeck,
}


def make_neck(config: SiameseConfig, in_channels: Sequence[int], template_cells: int) -> nn.Module:
    """Build the neck that the configuration names.

    Args:
        in_channels: of each level of the backbone.
        template_cells: per side of a template's finest level.

    Raises:
        ConfigError: an unknown name, or it does not go with the other settings.
    """
    if config.neck == EMBEDDING:
        return EmbeddingNeck.from_config(config, in_channels, template_cells)
    if config.neck not in NECKS:
        valid = ", ".join([*NECKS, EMBEDDING])
        raise ConfigError(f"Unknown neck '{config.neck}'; valid are {valid}.")
    return NECKS[config.neck](in_channels, config.channels)


def _only(in_channels: Sequence[int], name: str) -> None:
    if len(in_channels) != 1:
        raise ConfigError(f"The neck '{name}' takes one level, not {len(in_channels)}.")
