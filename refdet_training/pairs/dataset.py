"""Pairs of several sources as a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from refdet_core.errors import ConfigError
from refdet_training.pairs.config import PairConfig
from refdet_training.pairs.pair import Pair, PairSource


class PairDataset(Dataset[Pair]):
    """Pairs drawn from several sources with given shares.

    Pair ``index`` depends only on the seed and the index, not on the worker or the order; another
    epoch needs another seed.

    Args:
        sources: ``(source, share)``; shares are relative to each other.
        config: how pairs are drawn.
        length: number of pairs per epoch.
        seed: seed of all randomness.
    """

    def __init__(
        self,
        sources: Sequence[tuple[PairSource, float]],
        config: PairConfig,
        length: int,
        seed: int,
    ) -> None:
        shares = np.array([share for _, share in sources], dtype=np.float64)
        if not len(shares) or (shares < 0).any() or shares.sum() == 0:
            raise ConfigError(
                "Pairs need at least one source with a share above 0 and none below, got shares "
                f"{shares.tolist()}."
            )
        self._sources = [source for source, _ in sources]
        self._shares = shares / shares.sum()
        self._config, self._length, self._seed = config, length, seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Pair:
        rng = np.random.default_rng((self._seed, index))
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            return source.draw(self._config, rng)
