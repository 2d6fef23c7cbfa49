"""How random weights start."""

from __future__ import annotations

from torch import nn

from refdet_core.errors import ConfigError

INITIALISATIONS = ("default", "xavier", "kaiming")


def initialise(network: nn.Module, name: str) -> None:
    """Draw the weights of all convolutions of a backbone anew; their biases become 0.

    Args:
        name: ``default`` leaves what the layers have; ``xavier`` (Glorot & Bengio 2010) or
            ``kaiming`` (He et al. 2015, fan out). Pretrained weights are loaded afterwards.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in INITIALISATIONS:
        raise ConfigError(
            f"Unknown initialisation '{name}'; valid are {', '.join(INITIALISATIONS)}."
        )
    if name == "default":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            if name == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
