"""The base class of the criteria, which compute a head's loss on a batch of pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from refdet_core.model.siamese import Siamese
from refdet_training.pairs import PairBatch

Parts = dict[str, Tensor]


class Criterion(ABC):
    """Targets and losses of one kind of head."""

    @abstractmethod
    def __call__(
        self, network: Siamese, batch: PairBatch, features: Tensor, kernels: Tensor
    ) -> Parts:
        """The parts of the loss, and their weighted ``total``.

        Args:
            features: the batch's frames, encoded.
            kernels: one for each pair.
        """
