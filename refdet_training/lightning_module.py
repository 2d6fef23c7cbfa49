"""The training of one network: losses, optimiser, and measurements on the tuning pairs."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import BinaryAUROC

from refdet_core.errors import ConfigError
from refdet_core.model.grid import Grid
from refdet_core.model.head import HeadOutput
from refdet_core.model.siamese import Siamese, SiameseConfig
from refdet_core.tracking_rule import TrackingRule
from refdet_training.checkpoints import library_versions, plain_settings, start_from
from refdet_training.criteria.by_head import make_criterion
from refdet_training.criteria.heatmap import matched_groups
from refdet_training.initialisation import initialise, load_backbone
from refdet_training.losses import LossConfig
from refdet_training.optimiser import (
    OptimiserConfig,
    freeze_leading_stages,
    learning_rate_factor,
    make_optimiser,
    parameter_groups,
)
from refdet_training.pairs import PairBatch

QUALITY = "tune/quality"
"""Mean of ``tune/presence_auroc`` and ``tune/peak_hit``; the best checkpoint has the highest."""
_OPTIMISER = OptimiserConfig()


class SiameseTraining(LightningModule):
    """Trains a :class:`Siamese` on pairs.

    Args:
        network: how it is built.
        loss: which losses, and their shares.
        backbone_weights: ``hub`` for timm's pretrained weights, ``none`` for random ones, or a
            file of a timm state dict (.safetensors or .pth).
        initial: checkpoint of another run, bundle folder or weights file that the whole network
            starts from, by name.
        initial_partial: leave out tensors of ``initial`` that have another shape here, instead of
            refusing them.
        initialisation: of a random backbone, see :func:`refdet_training.initialisation.initialise`.
        optimiser: which one, and the course of the learning rate.
        lr: its peak.
        backbone_lr_share: the backbone learns this much slower.
        weight_decay: of the optimiser.
        warmup_steps: steps until the peak is reached.
        frozen_blocks: leading backbone stages (with the stem) that keep their weights always.
        backbone_frozen_steps: steps before the rest of the backbone begins to learn.
        learn_backbone_statistics: let the backbone's batch norms follow the batches, as is needed
            where it starts from random weights; else they keep their statistics (small batches).
        placement: how the exported network's boxes are placed, one of
            :data:`refdet_core.placement.PLACEMENTS`; None: as its head asks for.
        tracking: how the exported network follows a target, for ``bundle.yaml``; None: as refdet's
            own networks do.
        group_size: frames of a batch that meet each other's templates as absent ones: in the
            training of the head ``heatmap``, and in every validation.
    """

    def __init__(
        self,
        network: SiameseConfig,
        loss: LossConfig,
        backbone_weights: str = "none",
        initial: Path | None = None,
        initial_partial: bool = False,
        initialisation: str = "default",
        optimiser: OptimiserConfig = _OPTIMISER,
        lr: float = 1e-3,
        backbone_lr_share: float = 0.3,
        weight_decay: float = 1e-4,
        warmup_steps: int = 100,
        frozen_blocks: int = 0,
        backbone_frozen_steps: int = 0,
        learn_backbone_statistics: bool = False,
        tracking: TrackingRule | None = None,
        placement: str | None = None,
        group_size: int = 8,
    ) -> None:
        super().__init__()
        if group_size < 1:
            raise ConfigError(f"group_size must be at least 1, got {group_size}.")
        self.save_hyperparameters(
            {
                "network": plain_settings(network),
                "loss": asdict(loss),
                "backbone_weights": backbone_weights,
                "initial": str(initial) if initial else None,
                "initial_partial": initial_partial,
                "initialisation": initialisation,
                "optimiser": asdict(optimiser),
                "lr": lr,
                "backbone_lr_share": backbone_lr_share,
                "weight_decay": weight_decay,
                "warmup_steps": warmup_steps,
                "frozen_blocks": frozen_blocks,
                "backbone_frozen_steps": backbone_frozen_steps,
                "learn_backbone_statistics": learn_backbone_statistics,
                "placement": placement,
                "tracking": asdict(tracking) if tracking else None,
                "group_size": group_size,
                "versions": library_versions(),
            }
        )
        self.network = Siamese(network)
        self.criterion = make_criterion(network.head, loss, group_size)
        self.optimiser_config = optimiser
        initialise(self.network.backbone, initialisation)
        if frozen_blocks and backbone_weights == "none" and initial is None:
            raise ConfigError(
                f"model.frozen_blocks is {frozen_blocks}, but the backbone starts from random "
                "weights; give model.backbone_weights or model.initial, or set it to 0."
            )
        load_backbone(self.network, backbone_weights)
        if initial is not None:
            rank_zero_info(start_from(self.network, initial, initial_partial))
        freeze_leading_stages(self.network.backbone, frozen_blocks)
        self.network.to(memory_format=torch.channels_last)
        self._presence = BinaryAUROC()
        self._peak_hits = MeanMetric()
        self.train()

    def train(self, mode: bool = True) -> SiameseTraining:
        """Train mode, but the backbone's batch norms keep their statistics unless they learn."""
        super().train(mode)
        if not self.hparams["learn_backbone_statistics"]:
            self.network.backbone.eval()
        return self

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        settings = self.hparams
        groups = parameter_groups(self.network, settings["lr"], settings["backbone_lr_share"])
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise ConfigError(
                "The training would have no end; set trainer.max_steps or trainer.max_epochs."
            )
        warmup, frozen = settings["warmup_steps"], settings["backbone_frozen_steps"]
        config = self.optimiser_config
        optimiser = make_optimiser(groups, settings["weight_decay"], config)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            [
                lambda step: learning_rate_factor(step, int(total), warmup, 0, config),
                lambda step: learning_rate_factor(step, int(total), warmup, frozen, config),
            ][: len(groups)],
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_after_backward(self) -> None:
        # Distributed training fixes which parameters take part once and for all, so a backbone
        # that waits still gets gradients; they are dropped before the clipping counts them.
        if self.global_step < self.hparams["backbone_frozen_steps"]:
            for parameter in self.network.backbone.parameters():
                parameter.grad = None

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        parts = self.criterion(self.network, batch, *self.encode(batch))
        total = parts["total"]
        if not torch.isfinite(total):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise ConfigError(
                f"The loss is {total.item()} at step {self.global_step} with learning rate "
                f"{rate:.3g}; lower model.lr, or look for broken boxes in the data."
            )
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()})
        self.log("loss", total.detach(), prog_bar=True, logger=False)
        return total

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        features, kernels = self.encode(batch)
        parts = self.criterion(self.network, batch, features, kernels)
        self.log("tune/loss", parts["total"], batch_size=len(features), sync_dist=True)
        size = self.hparams["group_size"]
        for group, output in matched_groups(self.network, features, kernels, size):
            self._measure(batch, group, output)

    def on_validation_epoch_end(self) -> None:
        auroc, hit = self._presence.compute(), self._peak_hits.compute()
        values = {"tune/presence_auroc": auroc, "tune/peak_hit": hit, QUALITY: (auroc + hit) / 2}
        self.log_dict(values, prog_bar=True, sync_dist=True)
        self._presence.reset()
        self._peak_hits.reset()

    def encode(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Features ``(B, C, h, w)`` of the frames and one kernel ``(B, C, k, k)`` for each pair,
        the mean of its template views' kernels."""
        frames = _float32(batch.searches)
        templates = [_float32(item) for item in batch.templates]
        if batch.stems:
            features = self.network.encode_frame_stem(frames)
            views = self.network.encode_template_stems(templates)
        else:
            features = self.network.encode_frame(frames)
            views = self.network.encode_template(templates[0])
        sums = views.new_zeros(len(features), *views.shape[1:]).index_add(0, batch.owners, views)
        counts = torch.bincount(batch.owners, minlength=len(features))
        return features, sums / counts[:, None, None, None]

    def _measure(self, batch: PairBatch, group: slice, output: HeadOutput) -> None:
        """Presence of each frame's own template and of its neighbour's, and the own peaks."""
        present, boxes = batch.present[group], batch.boxes_xyxy[group]
        count = len(present)
        own = torch.arange(count, device=present.device)
        other = (own + 1) % count
        known = (own != other) & ~batch.ignore[group, group][own, other]
        logits = torch.cat([output.presence[own, own], output.presence[own, other][known]])
        truth = torch.cat([present, torch.zeros_like(present)[known]])
        self._presence.update(torch.sigmoid(logits), truth.int())
        hits = peak_hits(output.score[own, own], boxes, self.network.grid)
        if present.any():
            self._peak_hits.update(hits[present].float())


def peak_hits(score: Tensor, boxes_xyxy: Tensor, grid: Grid) -> Tensor:
    """Whether each map's highest cell lies on the object: its centre in the box, or in the cell
    of the box's centre when the object is smaller than a cell.

    Shapes: ``score (B, h, w)``, ``boxes_xyxy (B, 4)`` network pixels, result ``(B,)`` bool.
    """
    peak = score.flatten(1).argmax(dim=1)
    width = score.shape[2]
    cells = torch.stack([peak % width, peak // width], dim=1)
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    reach = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2).clamp(min=grid.stride / 2)
    return ((cells * grid.stride + grid.first_px - centres).abs() <= reach).all(dim=1)


def _float32(images: Tensor) -> Tensor:
    return images.to(torch.float32, memory_format=torch.channels_last)
