"""Checkpoints of training runs: the averaged network and the settings of the run."""

from __future__ import annotations

import importlib.metadata
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refdet_core.bundle import load_bundle
from refdet_core.crop_rule import CropRule
from refdet_core.errors import ConfigError, SourceError
from refdet_core.imaging import GREY
from refdet_core.model.siamese import Siamese, SiameseConfig
from refdet_core.tracking_rule import TrackingRule

_LIBRARIES = ("torch", "timm", "lightning", "numpy")
NETWORK = "network"
"""The network's name in the Lightning module, and so the prefix of its weights."""
DATA_STATES = ("PairDataModule", "ChipDataModule")
"""Lightning's keys for the state of each kind of data module."""
_LEARNED_FROM = ("videos", "images", "chips")


def load_checkpoint(path: Path) -> tuple[Siamese, dict[str, Any]]:
    """The averaged network of a checkpoint in eval mode, and its training as plain data.

    Returns:
        The network, and for ``bundle.yaml`` the run's settings: those of the Lightning module,
        ``data`` (those of the data module, ``pairs`` or ``chips`` among them), ``videos`` (how
        many, by data set) or ``images`` and ``chips`` (how many), ``seed``, ``steps`` and
        ``epoch`` done, ``versions`` of the libraries.

    Raises:
        SourceError: no such file, or not a checkpoint of ``refdet-train fit``.
    """
    saved = read_checkpoint(path)
    settings = dict(saved["hyper_parameters"])
    network = Siamese(SiameseConfig(**settings[NETWORK]))
    network.load_state_dict(_network_weights(saved))
    data = dict(saved["datamodule_hyper_parameters"])
    state = next(saved[name] for name in DATA_STATES if name in saved)
    training = {
        **settings,
        "seed": data.pop("seed"),
        "data": data,
        **{name: state[name] for name in _LEARNED_FROM if name in state},
        "steps": saved["global_step"],
        "epoch": saved["epoch"],
    }
    if "calibration" in saved:
        training["calibration"] = saved["calibration"]
    return network.eval(), training


def template_crop_of(training: Mapping[str, Any]) -> CropRule:
    """How a training run cut its templates; see :func:`load_checkpoint`."""
    if "template_crop" in training["data"]:
        return CropRule(**training["data"]["template_crop"])
    pairs = training["data"]["pairs"]
    border = (pairs.get("window") or {}).get("border", GREY)
    return CropRule(pairs["template_size"], pairs["template_context"], border=border)


def tracking_rule_of(training: Mapping[str, Any]) -> TrackingRule | None:
    """How the network of a training is to follow a target; None: not specified."""
    given = training.get("tracking")
    if not given:
        return None
    return TrackingRule(**{**given, "window": CropRule(**given["window"])})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint written by ``refdet-train fit``; see :func:`load_checkpoint`."""
    saved = _read(path)
    needed = {"state_dict", "hyper_parameters", "datamodule_hyper_parameters"}
    if not needed <= saved.keys() or not saved.keys() & set(DATA_STATES):
        raise SourceError(f"{path} was not written by 'refdet-train fit'; give a run's .ckpt file.")
    return saved


def start_from(network: Siamese, initial: Path, partial: bool = False) -> str:
    """Copy another network's weights by name.

    Args:
        initial: a checkpoint of ``refdet-train fit`` (its averaged weights are taken), a bundle's
            folder, or a file of a network's weights.
        partial: skip tensors of another shape instead of refusing them.

    Returns:
        A sentence that says how much was copied.

    Raises:
        SourceError: the file cannot be read.
        ConfigError: a tensor of that name has another shape, or no name agrees.
    """
    initial = Path(initial)
    given = _network_weights(
        _read(load_bundle(initial).torch_weights if initial.is_dir() else initial)
    )
    own = network.state_dict()
    shared = [name for name in own if name in given]
    different = [name for name in shared if own[name].shape != given[name].shape]
    if different and not partial:
        name = different[0]
        raise ConfigError(
            f"{len(different)} tensors of {initial} have another shape than this network's, first "
            f"{name}: {tuple(given[name].shape)} instead of {tuple(own[name].shape)}. Give "
            "model.network the values it was trained with (channels, matcher, kernel_size, "
            "hidden), or set model.initial_partial: true to leave such tensors untrained."
        )
    fitting = [name for name in shared if name not in different]
    if not fitting:
        raise ConfigError(f"No tensor of {initial} has a name this network knows.")
    network.load_state_dict({**own, **{name: given[name] for name in fitting}})
    return f"{len(fitting)} of {len(own)} tensors start from {initial}"


def plain_settings(network: SiameseConfig) -> dict[str, Any]:
    """A network's configuration as plain data."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(network).items()
    }


def library_versions() -> dict[str, str]:
    """Of the libraries that a training depends on."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _network_weights(saved: dict[str, Any]) -> dict[str, Tensor]:
    prefix = f"{NETWORK}."
    weights: dict[str, Tensor] = saved.get("state_dict", saved)
    if any(name.startswith(prefix) for name in weights):
        return {
            name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)
        }
    return weights


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SourceError(f"There is no file {path}.") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise SourceError(f"{path} cannot be read as weights or a checkpoint: {error}") from error
    if not isinstance(saved, dict):
        raise SourceError(f"{path} holds a {type(saved).__name__}, not named weights.")
    return saved
