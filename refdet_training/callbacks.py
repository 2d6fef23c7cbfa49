"""Averaged weights and the checkpoint to resume from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from torch import Tensor

from refdet_core.errors import ConfigError

LAST = "last.ckpt"
BEST = "best"


class AveragedWeights(WeightAveraging):
    """Exponential moving average of weights and buffers (Polyak & Juditsky 1992).

    After optimiser step s (from 1) the decay is ``min(decay, (1 + s) / (10 + s))``, so that the
    start is soon forgotten. Validation sees the averaged weights; checkpoints hold them as
    ``state_dict`` and the learning ones as ``current_model_state``.

    Args:
        decay: share of the old average that is kept at each step.
    """

    def __init__(self, decay: float = 0.998) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"averaging.decay must be in [0, 1), got {decay}.")
        super().__init__(multi_avg_fn=self._blend)
        self._decay = decay
        self._step = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning makes the copy before the strategy moves the module to its device.
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None:
            return False
        self._step = step_idx + 1
        return True

    def _blend(self, averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        decay = min(self._decay, (1 + self._step) / (10 + self._step))
        torch._foreach_lerp_(averaged, current, 1 - decay)


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` into the run's folder every so many steps and after the last one.

    Args:
        every_n_steps: optimiser steps between two checkpoints.
    """

    def __init__(self, every_n_steps: int = 200) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"last.every_n_steps must be at least 1, got {every_n_steps}.")
        self._every = every_n_steps
        self._saved = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == self._saved:  # a batch whose gradients are only accumulated
            return
        if step % self._every == 0 or step >= trainer.estimated_stepping_batches:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST, weights_only=False)
            self._saved = step
