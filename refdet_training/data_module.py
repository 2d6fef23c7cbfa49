"""Pairs for the trainer, from a folder of prepared data sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler

from refdet_core.errors import ConfigError, SourceError
from refdet_training.datasets.index import load_splits, prepared_sources
from refdet_training.pairs import (
    CUTOUTS,
    OBJECT_CUTOUTS,
    NamedSource,
    Pair,
    PairConfig,
    PairDataset,
    collate,
    make_sources,
    store_pairs,
)
from refdet_training.pairs.cutouts import list_pictures

_TUNE_SEED = 0
"""Tuning pairs are the same in every run, so that runs are comparable."""


class PairDataModule(LightningDataModule):
    """Training pairs from some splits, tuning pairs from another.

    Args:
        data_dir: folder of prepared data sets, see :mod:`refdet_training.datasets.index`.
        pairs: how pairs are drawn.
        shares: relative frequency of each data set; ``cutouts`` stands for synthetic pairs. None:
            all prepared data sets equally.
        loose_boxes: weight of the extents of data sets whose boxes are loose, by name; 0 learns
            nothing from them but where the object is.
        cutouts: folder of pictures with one object each, for the synthetic pairs.
        object_cutouts: folder of folders for more of them, each with pictures of one object at
            several moments; ``object_cutouts`` among the shares.
        backgrounds: folders of pictures seen from above to paste them on.
        train_splits: names of splits; a data set takes those that it has.
        tune_split: name of the split that is measured on while training.
        store: folder for training pairs that are drawn once, seen through the backbone's frozen
            stem and kept, see :mod:`refdet_training.pairs.stored_pairs`; None draws every pair
            anew. Needs ``model.frozen_blocks`` of all stages up to the finest stride.
        store_pairs: how many of them, for each data set and split.
        batch_size: pairs per step and device.
        pairs_per_epoch: over all devices; no pair is ever drawn twice, so an epoch is only the
            time between two validations.
        tune_pairs: pairs per validation.
        workers: processes that draw pairs, per device.
        seed: seed of the training pairs.
    """

    def __init__(
        self,
        data_dir: Path,
        pairs: PairConfig,
        shares: dict[str, float] | None = None,
        loose_boxes: dict[str, float] | None = None,
        cutouts: Path | None = None,
        object_cutouts: Path | None = None,
        backgrounds: list[Path] | None = None,
        train_splits: list[str] | None = None,
        tune_split: str = "tune",
        batch_size: int = 16,
        pairs_per_epoch: int = 8000,
        tune_pairs: int = 512,
        store: Path | None = None,
        store_pairs: int = 2000,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"batch_size": batch_size, "tune_pairs": tune_pairs}.items():
            if value < 1:
                raise ConfigError(f"data.{name} must be at least 1, got {value}.")
        self.save_hyperparameters(
            {
                "data_dir": str(data_dir),
                "pairs": asdict(pairs),
                "shares": shares,
                "loose_boxes": loose_boxes,
                "cutouts": str(cutouts) if cutouts else None,
                "object_cutouts": str(object_cutouts) if object_cutouts else None,
                "backgrounds": [str(folder) for folder in backgrounds or []],
                "train_splits": train_splits or ["train"],
                "tune_split": tune_split,
                "batch_size": batch_size,
                "pairs_per_epoch": pairs_per_epoch,
                "tune_pairs": tune_pairs,
                "store": str(store) if store else None,
                "store_pairs": store_pairs,
                "workers": workers,
                "seed": seed,
            }
        )
        self._data_dir, self._pairs = Path(data_dir), pairs
        given = {CUTOUTS: cutouts, OBJECT_CUTOUTS: object_cutouts}
        self._cutouts = {name: folder for name, folder in given.items() if folder is not None}
        self._backgrounds = [Path(folder) for folder in backgrounds or []]
        self._videos: dict[str, int] = {}
        self._done_batches = 0

    def setup(self, stage: str) -> None:
        """Read the index and the splits.

        Raises:
            SourceError: the folder or a data set is missing, or a split is empty.
        """
        if not self._data_dir.is_dir():
            raise SourceError(
                f"There is no folder {self._data_dir}; give data.data_dir the folder that "
                "'refdet-train prepare' wrote."
            )
        settings = self.hparams
        shares = settings["shares"] or dict.fromkeys(prepared_sources(self._data_dir), 1.0)
        if not shares:
            raise SourceError(
                f"{self._data_dir} holds no prepared data set; run 'refdet-train prepare' first."
            )
        loose = settings["loose_boxes"] or {}
        backgrounds = [path for folder in self._backgrounds for path in list_pictures(folder)]
        sources = make_sources(
            self._data_dir, settings["train_splits"], shares, self._cutouts, backgrounds, loose
        )
        if settings["store"]:
            sources = self._stored(sources, Path(settings["store"]))
        self._train = _dataset(sources, self._pairs, settings["pairs_per_epoch"], settings["seed"])
        synthetic = (CUTOUTS, OBJECT_CUTOUTS)
        names = [name for name, share in shares.items() if share > 0 and name not in synthetic]
        splits = {name: load_splits(self._data_dir / name) for name in names}
        self._videos = {
            name: sum(len(splits[name].get(split, ())) for split in settings["train_splits"])
            for name in names
        }
        tuned = [name for name in names if splits[name].get(settings["tune_split"])]
        if not tuned:
            raise SourceError(
                f"The split '{settings['tune_split']}' of {names} in {self._data_dir} is empty, so "
                "nothing can tell how good the network is; prepare the data with a tuning split, "
                "or give data.tune_split another one's name."
            )
        self._tune = _dataset(
            make_sources(
                self._data_dir,
                [settings["tune_split"]],
                dict.fromkeys(tuned, 1.0),
                {},
                loose_boxes={name: weight for name, weight in loose.items() if name in tuned},
            ),
            self._pairs,
            settings["tune_pairs"],
            _TUNE_SEED,
        )

    def _stored(self, sources: list[NamedSource], folder: Path) -> list[NamedSource]:
        """The same sources with stored pairs; missing ones are drawn first."""
        assert self.trainer is not None
        network = self.trainer.lightning_module.network
        return [
            replace(
                item,
                source=store_pairs(
                    folder / item.name,
                    item.source,
                    self._pairs,
                    self.hparams["store_pairs"],
                    self.hparams["seed"],
                    network,
                ),
            )
            for item in sources
        ]

    def train_dataloader(self) -> DataLoader[Pair]:
        assert self.trainer is not None
        batch_size, world = self.hparams["batch_size"], self.trainer.world_size
        batches = self.hparams["pairs_per_epoch"] // (batch_size * world)
        if batches < 1:
            raise ConfigError(
                f"data.pairs_per_epoch {self.hparams['pairs_per_epoch']} is less than one step "
                f"of {world} x {batch_size} pairs."
            )
        place = (self.trainer.global_rank, world)
        order = _PairOrder(self._train, batch_size, batches, place, self._done_batches)
        return self._loader(self._train, sampler=order)

    def val_dataloader(self) -> DataLoader[Pair]:
        return self._loader(self._tune)

    def state_dict(self) -> dict[str, Any]:
        """The number of drawn batches, and the training videos by data set."""
        assert self.trainer is not None
        return {
            "batches": self.trainer.fit_loop.epoch_loop.total_batch_idx + 1,
            "videos": self._videos,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._done_batches = state_dict["batches"]

    def _loader(self, dataset: PairDataset, **options: Any) -> DataLoader[Pair]:
        workers = self.hparams["workers"]
        return DataLoader(
            dataset,
            self.hparams["batch_size"],
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=_one_thread,
            persistent_workers=workers > 0,
            **options,
        )


def _dataset(sources: list[NamedSource], config: PairConfig, length: int, seed: int) -> PairDataset:
    return PairDataset([(item.source, item.share) for item in sources], config, length, seed)


class _PairOrder(DistributedSampler[int]):
    """The numbers of the pairs that this process draws in one epoch.

    Batch b of a run is made of the same pairs in every run of this seed and total batch size,
    however often it was resumed and on however many devices. (Lightning would cut any other
    sampler but a DistributedSampler into shares for the processes a second time.)

    Args:
        batches: of one epoch and process.
        place: number of this process, and of all processes.
        done_batches: of the run before it was resumed.
    """

    def __init__(
        self,
        dataset: PairDataset,
        batch_size: int,
        batches: int,
        place: tuple[int, int],
        done_batches: int,
    ) -> None:
        rank, world = place
        super().__init__(dataset, world, rank, shuffle=False)
        self._batch_size, self._batches, self._done_batches = batch_size, batches, done_batches

    def __iter__(self) -> Iterator[int]:
        first = max(self.epoch * self._batches, self._done_batches) * self._batch_size
        for number in range(first, first + len(self)):
            yield number * self.num_replicas + self.rank

    def __len__(self) -> int:
        return self._batches * self._batch_size


def _one_thread(worker: int) -> None:
    """Multi-threaded workers would take cores from the network."""
    cv2.setNumThreads(0)
