"""Initial weights: random ones, or those of a file or timm's hub."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError
from torch import nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbone import Backbone
from refdet_core.model.siamese import Siamese

INITIALISATIONS = ("default", "xavier", "kaiming")
_UNREADABLE = (RuntimeError, OSError, ValueError, EOFError, UnpicklingError, SafetensorError)


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


def load_backbone(network: Siamese, weights: str) -> None:
    """Give the backbone its weights.

    Args:
        weights: ``none`` leaves the random ones; ``hub`` takes timm's; else a file of a timm state
            dict.

    Raises:
        ConfigError: they cannot be downloaded, or belong to another backbone.
    """
    name = network.config.backbone
    if weights == "none":
        return
    if weights == "hub":
        try:
            pretrained = Siamese(network.config, pretrained=True).backbone
        # timm and the hub's client raise errors of many unrelated types.
        except Exception as error:
            raise ConfigError(
                f"The weights of '{name}' cannot be had from timm's hub "
                f"({type(error).__name__}: {str(error).splitlines()[0]}). Set "
                "model.backbone_weights to a file of a timm state dict, or to none."
            ) from error
        network.backbone.load_state_dict(pretrained.state_dict())
        return
    path = Path(weights)
    if not path.is_file():
        raise ConfigError(
            f"model.backbone_weights is '{weights}', but there is no such file; give hub, none, or "
            "a .safetensors or .pth file."
        )
    load_weights(network.backbone, name, path)


def load_weights(backbone: Backbone, name: str, path: Path) -> None:
    """Give the backbone of this name the weights of a file.

    Raises:
        ConfigError: it cannot be read, or belongs to another backbone.
    """
    try:
        backbone.load_weights(path)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path} does not fit the backbone '{name}' (another architecture or another number "
            f"of channels?): {reason[:300]}"
        ) from error
