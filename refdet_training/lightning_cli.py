"""Lightning's command line for the trainer: recipe and overrides in, a finished run out."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from refdet_core.errors import ConfigError
from refdet_core.model.config import SiameseConfig
from refdet_training.callbacks import BEST, LAST, AveragedWeights, LastCheckpoint
from refdet_training.checkpoints import read_checkpoint
from refdet_training.chips.data_module import ChipDataModule
from refdet_training.chips.module import ChipTraining
from refdet_training.data_module import PairDataModule
from refdet_training.lightning_module import QUALITY, SiameseTraining

PAIRS, CHIPS = "pairs", "chips"
_SEED = ("seed_everything", "data.seed")


@dataclass(frozen=True)
class Task:
    """What is learned from: its network's training, its data, and settings that both share.

    Attributes:
        model, data: the classes.
        links: settings that another one decides.
    """

    model: type[LightningModule]
    data: type[LightningDataModule]
    links: tuple[tuple[str, str], ...]


TASKS = {
    PAIRS: Task(
        SiameseTraining,
        PairDataModule,
        (
            ("model.network.img_size", "data.pairs.img_size"),
            ("model.network.template_size", "data.pairs.template_size"),
            _SEED,
        ),
    ),
    CHIPS: Task(
        ChipTraining,
        ChipDataModule,
        (
            ("model.network.template_size", "data.chips.size"),
            ("model.network.bands", "data.chips.bands"),
            _SEED,
        ),
    ),
}
"""By the recipe's key ``task``: pairs of a template and a search window out of videos, or classes
of chips out of labelled images."""
_EXPECTED_WARNINGS = (
    "Found .* in eval mode at the start of training",  # the backbone, see SiameseTraining.train
    "You're resuming from a checkpoint that ended before the epoch ended",  # the data module knows
    "Checkpoint directory .* exists and is not empty",  # fit refuses to overwrite a run itself
    "Experiment logs directory .* exists and is not empty",  # both loggers write into one folder
    "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning's own business
)


def fit(settings: Sequence[str]) -> Trainer:
    """Train with settings as on the command line of ``refdet-train fit``.

    Returns:
        The trainer after the run. In ``trainer.default_root_dir`` it left ``last.ckpt`` (to
        resume), ``best.ckpt`` (highest ``tune/quality``) and ``logs/version_N`` (TensorBoard,
        ``metrics.csv``, the whole configuration).

    Raises:
        RefdetError: a setting or the data cannot be used, or the loss is not finite.
    """
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        try:
            cli = _FitCLI(_task_of(settings), list(settings))
            checkpoint = _checkpoint_to_resume(cli)
            cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=True)
        except MisconfigurationException as error:
            raise ConfigError(" ".join(str(error).split())) from error
    return cli.trainer


class _FitCLI(LightningCLI):
    """One network, one data module, and the callbacks every run has."""

    def __init__(self, task: str, args: list[str]) -> None:
        self._task = task
        super().__init__(
            TASKS[task].model,
            TASKS[task].data,
            trainer_defaults={"default_root_dir": "runs/fit"},
            seed_everything_default=0,
            parser_kwargs={"prog": "refdet-train fit", "exit_on_error": False},
            args=args,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            help="checkpoint to resume from; 'last' takes last.ckpt of trainer.default_root_dir",
        )
        parser.add_argument(
            "--task", type=str, default=self._task, help=f"one of {', '.join(TASKS)}"
        )
        parser.add_lightning_class_args(AveragedWeights, "averaging")
        parser.add_lightning_class_args(LastCheckpoint, "last")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(
            {
                "early_stopping.monitor": QUALITY,
                "early_stopping.mode": "max",
                "early_stopping.patience": 10,
                "early_stopping.check_on_train_epoch_end": False,  # an epoch may end unvalidated
            }
        )
        for source, target in TASKS[self._task].links:
            parser.link_arguments(source, target)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            self.config = parser.parse_args(args)
        except jsonargparse.ArgumentError as error:
            raise ConfigError(_sentence(parser, str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        folder = Path(self.config_init["trainer"]["default_root_dir"])
        if self.config_init["trainer"]["logger"] is None:
            board = TensorBoardLogger(folder, name="logs")
            kwargs["logger"] = [board, CSVLogger(folder, "logs", board.version)]
        return super().instantiate_trainer(**kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        best = ModelCheckpoint(
            config["default_root_dir"],
            BEST,
            monitor=QUALITY,
            mode="max",
            save_on_train_epoch_end=False,
        )
        logged = [LearningRateMonitor("step")] if config["logger"] else []
        return super()._instantiate_trainer(config, [*callbacks, *logged, best])


def _task_of(settings: Sequence[str]) -> str:
    """The task named on the command line, else in its recipe. It decides which settings there are,
    so it must be known before they are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task")
    parser.add_argument("--config", "-c", action="append", default=[])
    given, _ = parser.parse_known_args(list(settings))
    task = given.task
    for path in reversed(given.config):
        if task is None:
            task = _key_of(path, "task")
    task = task or PAIRS
    if task not in TASKS:
        raise ConfigError(f"Unknown task '{task}'; valid are {', '.join(TASKS)}.")
    return str(task)


def _key_of(path: str, key: str) -> Any:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None  # the parser says what is wrong with the file
    return content.get(key) if isinstance(content, dict) else None


def _sentence(parser: LightningArgumentParser, message: str) -> str:
    """The parser's message in one line; of an unknown key, with the valid ones beside it."""
    message = " ".join(message.split())
    unknown = re.search(
        r"unrecognized arguments: --([\w.]+)|'(\S+)' does not accept .*'(\S+)'", message
    )
    if unknown:
        group = ".".join(part for part in unknown.groups() if part).rpartition(".")[0]
        prefix = f"{group}." if group else ""
        keys = parser.get_defaults().keys()
        inside = [key[len(prefix) :] for key in keys if key.startswith(prefix)]
        valid = dict.fromkeys(key.partition(".")[0] for key in inside)
        message += f". Valid keys {f'of {group}' if group else 'here'} are {', '.join(valid)}."
    return message


def _checkpoint_to_resume(cli: LightningCLI) -> Path | None:
    folder, given = Path(cli.trainer.default_root_dir), cli.config["ckpt_path"]
    if given is None:
        if (folder / LAST).exists():
            raise ConfigError(
                f"{folder} already holds a run; go on with it (--ckpt_path last), or choose "
                "another trainer.default_root_dir."
            )
        return None
    path = folder / LAST if given == "last" else Path(given)
    trained = read_checkpoint(path)["hyper_parameters"]["network"]
    wanted = cli.model.hparams["network"]
    trained = {**asdict(SiameseConfig()), **trained}  # older runs lack settings that came later
    different = [key for key in wanted if _listed(trained[key]) != wanted[key]]
    if different:
        values = ", ".join(f"{key} {trained[key]} (now {wanted[key]})" for key in different)
        raise ConfigError(
            f"{path} cannot be resumed: its network was built with {values}. Start a new run with "
            "model.initial to take over what fits."
        )
    return path


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
