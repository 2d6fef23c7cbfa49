"""The training of a network that embeds chips: triplets, two stages, calibration."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from refdet_core.errors import ConfigError
from refdet_core.model.bands import BandAdapter
from refdet_core.model.siamese import Siamese, SiameseConfig
from refdet_training.checkpoints import library_versions, plain_settings
from refdet_training.chips.data_module import ChipDataModule
from refdet_training.chips.pair_calibration import (
    LEAST_PAIRS,
    PairCalibration,
    calibrate_pairs,
    retrieval_precision,
)
from refdet_training.chips.triplets import TripletLoss
from refdet_training.initialisation import initialise, load_backbone
from refdet_training.lightning_module import QUALITY
from refdet_training.optimiser import parameter_groups, split_stages


class ChipTraining(LightningModule):
    """Trains a :class:`Siamese` with the neck ``embedding`` on chips.

    First the backbone stays as it is; later its last stages learn too, and everything slower.

    Args:
        network: how it is built.
        backbone_weights: ``hub`` for timm's pretrained weights, ``none`` for random ones, or a
            file of a timm state dict (.safetensors or .pth).
        initialisation: of a random backbone, see :func:`refdet_training.initialisation.initialise`.
        margin: of the triplet loss.
        lr: learning rate while the backbone is frozen.
        weight_decay: of AdamW.
        frozen_epochs: epochs before the backbone begins to learn.
        learned_stages: how many of its last stages do; null: the whole backbone.
        later_lr_share: of ``lr``, from then on.
        learn_backbone_statistics: let its batch norms follow the batches, as is needed where it
            starts from random weights.
        score_threshold: of the exported bundle.
    """

    def __init__(
        self,
        network: SiameseConfig,
        backbone_weights: str = "none",
        initialisation: str = "default",
        margin: float = 0.5,
        lr: float = 1e-4,
        weight_decay: float = 1e-4,
        frozen_epochs: int = 5,
        learned_stages: int | None = 1,
        later_lr_share: float = 0.1,
        learn_backbone_statistics: bool = False,
        score_threshold: float = 0.3,
    ) -> None:
        super().__init__()
        if not 0 <= score_threshold <= 1:
            raise ConfigError(
                f"model.score_threshold must be between 0 and 1, got {score_threshold}."
            )
        self.save_hyperparameters(
            {
                "network": plain_settings(network),
                "backbone_weights": backbone_weights,
                "initialisation": initialisation,
                "margin": margin,
                "lr": lr,
                "weight_decay": weight_decay,
                "frozen_epochs": frozen_epochs,
                "learned_stages": learned_stages,
                "later_lr_share": later_lr_share,
                "learn_backbone_statistics": learn_backbone_statistics,
                "score_threshold": score_threshold,
                "versions": library_versions(),
            }
        )
        self.network = Siamese(network)
        initialise(self.network.backbone, initialisation)
        load_backbone(self.network, backbone_weights)
        self._later = self._learned_modules(learned_stages)
        self._triplets = TripletLoss(margin)
        self._measured: list[tuple[Tensor, Tensor]] = []
        self.train()

    def train(self, mode: bool = True) -> ChipTraining:
        """Train mode, but the backbone's batch norms keep their statistics unless they learn."""
        super().train(mode)
        if not self.hparams["learn_backbone_statistics"]:
            self.network.backbone.eval()
        return self

    def setup(self, stage: str) -> None:
        """Take over the mean and the deviation of every band from the training chips."""
        if isinstance(self.network.bands, BandAdapter):
            self.network.bands.set_statistics(*self._data.sets[0].statistics())

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        given = self.hparams
        for module in self._later:
            module.requires_grad_(True)  # for the groups; on_train_epoch_start decides
        groups = parameter_groups(self.network, given["lr"], 1.0)
        optimiser = torch.optim.AdamW(groups, weight_decay=given["weight_decay"])
        share, frozen = given["later_lr_share"], given["frozen_epochs"]
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda epoch: 1.0 if epoch < frozen else share
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "epoch"},
        }

    def on_train_epoch_start(self) -> None:
        learns = self.current_epoch >= self.hparams["frozen_epochs"]
        for module in self._later:
            module.requires_grad_(learns)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        chips, labels = batch
        loss: Tensor = self._triplets(self.embed(chips), labels)
        if not torch.isfinite(loss):
            raise ConfigError(
                f"The loss is {loss.item()} at step {self.global_step}; lower model.lr, or look "
                "for broken images in the data."
            )
        self.log("train/total", loss.detach(), prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._measured.clear()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        chips, labels = batch
        self._measured.append((self.embed(chips).cpu(), labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        embeddings, labels = _joined(self._measured)
        quality = retrieval_precision(embeddings, labels, self._background)
        self.log(QUALITY, quality, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Fitted on the weights that are saved, which may have changed since the last validation.
        checkpoint["calibration"] = self._calibrate()

    def embed(self, chips: Tensor) -> Tensor:
        """Unit vectors ``(B, C)`` of chips ``(B, bands, S, S)``."""
        return self.network.encode_frame(chips.float()).flatten(1)

    @property
    def _data(self) -> ChipDataModule:
        data: ChipDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    @property
    def _background(self) -> int:
        return len(self._data.sets[1].classes) - 1

    def _calibrate(self) -> dict[str, Any]:
        mode = self.training
        self.eval()
        with torch.no_grad():
            parts = [
                (self.embed(chips.to(self.device)).cpu(), labels)
                for chips, labels in self._data.val_dataloader()
            ]
        self.train(mode)
        embeddings, labels = _joined(parts)
        fitted = calibrate_pairs(embeddings, labels, self._background)
        if not fitted.fitted:
            rank_zero_info(_not_fitted(fitted))
        return {
            "calibration": asdict(fitted.calibration),
            "fitted": fitted.fitted,
            "pairs_of_one_class": fitted.same,
            "pairs_of_two_classes": fitted.different,
            "retrieval_ap": retrieval_precision(embeddings, labels, self._background),
        }

    def _learned_modules(self, count: int | None) -> list[torch.nn.Module]:
        """What of the backbone learns later; everything else of it is frozen."""
        backbone = self.network.backbone
        _, stages = split_stages(backbone)
        if count is not None and not 0 <= count <= len(stages):
            raise ConfigError(
                f"model.learned_stages is {count}, but this backbone has {len(stages)} stages up "
                "to its stride; give at most that, or null for the whole backbone."
            )
        backbone.requires_grad_(False)
        return [backbone] if count is None else stages[len(stages) - count :]


def _joined(parts: list[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    embeddings, labels = zip(*parts, strict=True)
    return torch.cat(embeddings).numpy(), torch.cat(labels).numpy()


def _not_fitted(fitted: PairCalibration) -> str:
    return (
        f"calibration: {fitted.same} tuning pairs of one class and {fitted.different} of two "
        f"classes, {LEAST_PAIRS} of each are needed and their likeness must tell them apart; the "
        "probability stays (1 + cosine) / 2."
    )
