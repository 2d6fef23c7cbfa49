"""Chips for the trainer, from a folder of labelled images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from refdet_core.errors import ConfigError
from refdet_training.chips.augment import ChipAugmentation, centre
from refdet_training.chips.chip_set import ChipConfig, ChipSet, chosen_images, read_chips
from refdet_training.chips.triplets import check_classes, make_sampler

_VALIDATION_BATCH = 64
_AUGMENTATION = ChipAugmentation()


class ChipDataModule(LightningDataModule):
    """Training chips from some images of a folder, tuning chips from others.

    Args:
        data_dir: folder of images, each with its table of labels beside it, see
            :func:`refdet_training.chips.labels.read_labels`.
        chips: how they are cut.
        augmentation: how they are changed in training.
        train: patterns of the images' names to learn from; tuning images are left out.
        tune: of those that are measured on while training, and that the calibration is fitted on.
        classes: which ones; null: all that are labelled.
        classes_per_batch, chips_per_class: P and K of the batches.
        chips_per_epoch: chips between two validations.
        workers: processes that draw chips.
        seed: of the background's places and the changes.
    """

    def __init__(
        self,
        data_dir: Path,
        chips: ChipConfig,
        augmentation: ChipAugmentation = _AUGMENTATION,
        train: list[str] | None = None,
        tune: list[str] | None = None,
        classes: list[str] | None = None,
        classes_per_batch: int = 8,
        chips_per_class: int = 3,
        chips_per_epoch: int = 2400,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(classes_per_batch, chips_per_class) < 2:
            raise ConfigError(
                "data.classes_per_batch and data.chips_per_class must be at least 2, got "
                f"{classes_per_batch} and {chips_per_class}."
            )
        if not tune:
            raise ConfigError("data.tune must name images to measure on, like [riverside_*_4*].")
        self.save_hyperparameters(
            {
                "data_dir": str(data_dir),
                "chips": asdict(chips),
                "template_crop": asdict(chips.crop),
                "augmentation": asdict(augmentation),
                "train": train or ["*"],
                "tune": tune,
                "classes": classes,
                "classes_per_batch": classes_per_batch,
                "chips_per_class": chips_per_class,
                "chips_per_epoch": chips_per_epoch,
                "workers": workers,
                "seed": seed,
            }
        )
        self._config, self._augmentation = chips, augmentation
        self._sets: tuple[ChipSet, ChipSet] | None = None

    def setup(self, stage: str) -> None:
        """Read all chips.

        Raises:
            RefdetError: an image or a table cannot be read, or a class has too few chips.
        """
        if self._sets is not None:
            return
        given = self.hparams
        folder = Path(given["data_dir"])
        train = chosen_images(folder, given["train"], given["tune"])
        tune = chosen_images(folder, given["tune"], ())
        learned = read_chips(train, self._config, given["seed"], given["classes"])
        check_classes(learned.counts, given["train"])
        measured = read_chips(tune, self._config, given["seed"] + 1, learned.classes[:-1])
        for name, own in (("train", learned), ("tune", measured)):
            parts = ", ".join(f"{key} {count}" for key, count in own.counts.items())
            rank_zero_info(f"{name}: {own.images} images, chips: {parts}")
        self._sets = learned, measured

    @property
    def sets(self) -> tuple[ChipSet, ChipSet]:
        """Training and tuning chips."""
        if self._sets is None:
            self.setup("fit")
        assert self._sets is not None
        return self._sets

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of P classes with K chips each."""
        given, learned = self.hparams, self.sets[0]
        labels = torch.from_numpy(learned.labels)
        sampler, batch = make_sampler(
            labels, given["classes_per_batch"], given["chips_per_class"], given["chips_per_epoch"]
        )
        present = len(torch.unique(labels))
        if present < given["classes_per_batch"]:
            rank_zero_info(
                f"There are {present} classes, the background among them, fewer than "
                f"{given['classes_per_batch']}: a batch has {batch} chips. "
                "trainer.accumulate_grad_batches joins several for one step."
            )
        dataset = _Chips(learned, self._config.size, self._augmentation)
        return DataLoader(dataset, batch, sampler=sampler, num_workers=given["workers"])

    def val_dataloader(self) -> DataLoader[Any]:
        """All tuning chips, unchanged."""
        return DataLoader(_Chips(self.sets[1], self._config.size, None), _VALIDATION_BATCH)

    def state_dict(self) -> dict[str, Any]:
        """What was learned from."""
        learned = self.sets[0]
        return {"images": learned.images, "chips": learned.counts}


class _Chips(Dataset[tuple[Tensor, int]]):
    def __init__(self, source: ChipSet, size: int, augmentation: ChipAugmentation | None) -> None:
        self._source, self._size, self._augmentation = source, size, augmentation

    def __len__(self) -> int:
        return len(self._source.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        stored = self._source.chips[index]
        if self._augmentation is None:
            chip = centre(stored, self._size)
        else:
            # From torch's seed: it differs between workers and epochs, and is the run's own.
            generator = np.random.default_rng(int(torch.randint(2**31, (1,))))
            chip = self._augmentation(stored, self._size, generator)
        return torch.from_numpy(chip), int(self._source.labels[index])
