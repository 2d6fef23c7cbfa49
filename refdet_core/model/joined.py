"""Two or more networks as one: they look at the same frame, and their answers are averaged.

Networks with different backbones make different mistakes, so the mean of their log-odds ranks
candidates better than each does alone (an ensemble, Hansen & Salamon 1990).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict, List, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.config import SiameseConfig
from refdet_core.model.head import HeadOutput, Maps
from refdet_core.model.siamese import Siamese

PARTS, CALIBRATIONS = "joined", "calibrations"
"""Keys of a joined network's description: the configuration of each part, and the weight and
intercept that turn its score's logit into log-odds."""
_ALIKE = ("strides", "img_size", "heatmap_size", "template_size", "head", "box_coding")


class JoinedSiamese(nn.Module):
    """Has the methods of :class:`Siamese` that inference needs.

    Features and kernels of the parts lie one after the other in dimension 1. At each cell the box
    is that of the part that is surest there.

    Args:
        parts: networks with the same sizes, strides and head.
        calibrations: weight and intercept of each part.

    Raises:
        ConfigError: fewer than two parts, or parts that do not go together.
    """

    def __init__(
        self, parts: Sequence[Siamese], calibrations: Sequence[Tuple[float, float]]
    ) -> None:
        super().__init__()
        if len(parts) < 2 or len(parts) != len(calibrations):
            raise ConfigError(
                f"Two or more networks are joined, each with a calibration; got {len(parts)} and "
                f"{len(calibrations)}."
            )
        self.config = parts[0].config
        self.grid = parts[0].grid
        for part in parts[1:]:
            for name in _ALIKE:
                own, other = getattr(self.config, name), getattr(part.config, name)
                if own != other:
                    raise ConfigError(f"Networks with {name} {own} and {other} cannot be joined.")
        self.parts = nn.ModuleList(parts)
        self._parts = tuple(parts)  # the same, with their type
        self.calibrations = [(float(weight), float(shift)) for weight, shift in calibrations]
        self._channels = [part.config.levels_apart * part.config.channels for part in parts]

    @property
    def siblings(self) -> Tuple[Siamese, ...]:
        """The parts."""
        return self._parts

    def encode_template(self, image: Tensor) -> Tensor:
        """Template crops to kernels ``(N, sum of C, S k, k)``."""
        return torch.cat([part.encode_template(image) for part in self._parts], dim=1)

    def encode_frame(self, frame: Tensor) -> Tensor:
        """Frames to features ``(B, sum of C, h, w)``."""
        return torch.cat([part.encode_frame(frame) for part in self._parts], dim=1)

    def match(self, features: Tensor, kernel: Tensor) -> HeadOutput:
        """The mean log-odds of all parts, and the boxes of the surest one at each cell."""
        pieces = zip(
            self._parts,
            torch.split(features, self._channels, dim=1),
            torch.split(kernel, self._channels, dim=1),
        )
        outputs = [part.match(own, other) for part, own, other in pieces]
        odds = self._calibrated([output.score for output in outputs])
        surest, deltas = odds[0], outputs[0].deltas
        for candidate, output in zip(odds[1:], outputs[1:]):
            surer = (candidate > surest).unsqueeze(2)
            deltas = torch.where(surer, output.deltas, deltas)
            surest = torch.maximum(surest, candidate)
        presence = self._calibrated([output.presence for output in outputs])
        return HeadOutput(_mean(odds), deltas, _mean(presence))

    def decode(self, output: HeadOutput) -> Maps:
        """See :meth:`Siamese.decode`."""
        return self._parts[0].decode(output)

    def forward(self, frame: Tensor, kernel: Tensor) -> Maps:
        """The detector graph: score, box, presence."""
        return self.decode(self.match(self.encode_frame(frame), kernel))

    def _calibrated(self, logits: Sequence[Tensor]) -> List[Tensor]:
        return [weight * own + shift for own, (weight, shift) in zip(logits, self.calibrations)]


Network = Union[Siamese, JoinedSiamese]


def make_network(description: Dict[str, Any]) -> Network:
    """The network that ``bundle.yaml`` describes: a :class:`Siamese`, or a joined one.

    Raises:
        ConfigError, TypeError: a setting is wrong or unknown.
    """
    if PARTS not in description:
        return Siamese(SiameseConfig(**description))
    parts = [Siamese(SiameseConfig(**item)) for item in description[PARTS]]
    return JoinedSiamese(parts, [tuple(item) for item in description[CALIBRATIONS]])


def describe_network(network: Network) -> Dict[str, Any]:
    """What :func:`make_network` builds this network from."""
    if not isinstance(network, JoinedSiamese):
        return asdict(network.config)
    return {
        PARTS: [asdict(part.config) for part in network.siblings],
        CALIBRATIONS: [list(item) for item in network.calibrations],
    }


def _mean(items: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(items)).mean(dim=0)
