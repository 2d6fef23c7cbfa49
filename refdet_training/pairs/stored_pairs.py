"""Pairs drawn once, seen through the backbone's frozen stem, and kept on disk.

Drawing a pair and running the first layers of the backbone take most of a training step on a CPU.
Frozen layers need not be computed twice: the stem's features of some thousand pairs of each
source are stored, and a training step begins behind the stem. Variety comes from new combinations
of pairs as each other's negatives, and of template views.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from refdet_core.errors import ConfigError, SourceError
from refdet_core.model.siamese import Siamese, scaled_template
from refdet_training.augment import Rng
from refdet_training.datasets.whole_files import write_whole
from refdet_training.pairs.config import PairConfig
from refdet_training.pairs.dataset import PairDataset
from refdet_training.pairs.pair import Pair, PairSource

Stem = Callable[[Tensor], Tensor]
"""Images ``(N, 3, H, W)`` float32 RGB 0-255 to the stem's features ``(N, C, h, w)``."""
_RECORDS = "pairs.json"
_AT_ONCE = 16


class StoredPairs(PairSource):
    """Pairs that :func:`store_pairs` wrote, drawn equally often.

    Args:
        folder: of one source.

    Raises:
        SourceError: the folder does not hold complete pairs.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._records = json.loads((folder / _RECORDS).read_text(encoding="utf-8"))["pairs"]
            self._searches = np.load(folder / "searches.npy", mmap_mode="r")
            self._templates = [
                np.load(path, mmap_mode="r") for path in sorted(folder.glob("templates_*.npy"))
            ]
        except (OSError, ValueError) as error:
            raise SourceError(f"{folder} holds no complete pairs: {error}") from error

    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        """One of the stored pairs with some of its template views."""
        index = int(rng.integers(len(self._records)))
        fewest, most = config.references
        count = min(int(rng.integers(fewest, most + 1)), self._templates[0].shape[1])
        views = rng.choice(self._templates[0].shape[1], size=count, replace=False)
        record = self._records[index]
        return Pair(
            tuple(_float32(scale[index][views]) for scale in self._templates),
            _float32(self._searches[index]),
            tuple(record["box_xyxy"]),
            record["present"],
            record["template_family"],
            frozenset(record["search_families"]),
            record["box_weight"],
            stems=True,
        )


def store_pairs(
    folder: Path,
    source: PairSource,
    config: PairConfig,
    count: int,
    seed: int,
    network: Siamese,
) -> StoredPairs:
    """Draw ``count`` pairs, each with the most template views of ``config.references``, and write
    the stem's features of them. Pairs of an earlier call with the same arguments are kept.

    Raises:
        ConfigError: the network's backbone has no stem, or one that learns.
    """
    stem, template_scales = network.backbone.stem, network.config.template_scales
    layers = list(network.backbone.stem_layers().parameters())
    if not layers or any(layer.requires_grad for layer in layers):
        raise ConfigError(
            f"Pairs can be stored behind a frozen stem only; the backbone "
            f"'{network.config.backbone}' has {'one that learns' if layers else 'none'}. Set "
            "model.frozen_blocks to the number of its stages, or omit data.store."
        )
    config = replace(config, references=(config.references[1],) * 2)
    key = json.loads(
        json.dumps([asdict(config), count, seed, _digest(network), list(template_scales)])
    )
    record = folder / _RECORDS
    if record.is_file() and json.loads(record.read_text(encoding="utf-8"))["key"] == key:
        return StoredPairs(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    pairs = PairDataset([(source, 1.0)], config, count, seed)
    arrays: dict[str, np.ndarray] = {}
    labels = []
    for first in tqdm(range(0, count, _AT_ONCE), desc=f"pairs of {folder.name}", leave=False):
        some = [pairs[index] for index in range(first, min(first + _AT_ONCE, count))]
        features = {"searches": _through(stem, torch.stack([pair.search for pair in some]))}
        for number, scale in enumerate(template_scales):
            views = torch.stack([pair.templates[0] for pair in some])
            features[f"templates_{number}"] = _through(stem, views, scale)
        for name, part in features.items():
            if name not in arrays:
                shape = (count, *part.shape[1:])
                arrays[name] = np.lib.format.open_memmap(
                    folder / f"{name}.npy", "w+", np.float16, shape
                )
            arrays[name][first : first + len(part)] = part
        labels += [
            {
                "box_xyxy": pair.box_xyxy,
                "present": pair.present,
                "template_family": pair.template_family,
                "search_families": sorted(pair.search_families),
                "box_weight": pair.box_weight,
            }
            for pair in some
        ]
    for array in arrays.values():
        array.flush()  # type: ignore[attr-defined]
    write_whole(record, json.dumps({"key": key, "pairs": labels}).encode())
    return StoredPairs(folder)


def _through(stem: Stem, images: Tensor, scale: float = 1.0) -> np.ndarray:
    """Features ``(..., C, h, w)`` of uint8 images ``(..., 3, H, W)``."""
    flat = scaled_template(images.reshape(-1, *images.shape[-3:]).float(), scale)
    with torch.no_grad():
        features = stem(flat.contiguous(memory_format=torch.channels_last))
    return np.asarray(features.reshape(*images.shape[:-3], *features.shape[1:]).half().numpy())


def _digest(network: Siamese) -> str:
    """Identifies this stem's weights."""
    digest = hashlib.sha256()
    for value in network.backbone.stem_layers().state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _float32(features: np.ndarray) -> Tensor:
    return torch.from_numpy(features.astype(np.float32))
