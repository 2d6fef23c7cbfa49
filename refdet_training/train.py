"""The trainer: pairs in, checkpoints out, resumable.

refdet-train fit --data FOLDER --prepared FOLDER --output FOLDER [--recipe FILE]
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import cv2
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader

from refdet_core.errors import ConfigError
from refdet_core.model.siamese import Siamese, SiameseConfig
from refdet_training.losses import LossWeights, identity_loss, siamese_loss
from refdet_training.pairs import (
    CutoutPairs,
    PairBatch,
    PairConfig,
    PairDataset,
    PairSource,
    PhotoPairs,
    VideoPairs,
    collate,
)
from refdet_training.videos import load_instances, split_videos

Record = TypeVar("Record")


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a training run. The one place of these defaults.

    Attributes:
        model, pairs, loss: the parts' own settings.
        weights: backbone weights file, relative to the data folder; empty takes none.
        steps, batch_size, lr, weight_decay, warmup_steps: of AdamW with cosine decay.
        group_size: frames of a batch that meet each other's templates as absent ones.
        backbone_lr_share: the pretrained backbone learns this much slower.
        frozen_blocks: leading backbone blocks (with the stem) that keep their weights.
        ema: decay of the averaged weights that are saved.
        shares: how often each pair source is drawn.
        tune_videos: training videos held out for tuning and calibration.
        seed: of everything random.
    """

    model: SiameseConfig = field(default_factory=SiameseConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    weights: str = ""
    steps: int = 3000
    batch_size: int = 16
    group_size: int = 8
    lr: float = 1e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    backbone_lr_share: float = 0.3
    frozen_blocks: int = 2
    ema: float = 0.998
    shares: dict[str, float] = field(
        default_factory=lambda: {
            "aerial_sequences": 0.35,
            "airborne_targets": 0.2,
            "aerial_cars": 0.1,
            "cutouts": 0.35,
        }
    )
    tune_videos: tuple[str, ...] = ()
    seed: int = 0


def load_recipe(path: Path | None) -> Recipe:
    """Read a recipe; unknown keys are refused, missing ones keep their defaults."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    return _record(Recipe, content or {}, "recipe")


def _record(kind: type[Record], content: dict[str, Any], where: str) -> Record:
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - known)
    if unknown:
        raise ConfigError(f"Unknown keys {unknown} in {where}; valid are {sorted(known)}.")
    nested: dict[str, Any] = {"model": SiameseConfig, "pairs": PairConfig, "loss": LossWeights}
    values = {}
    for key, value in content.items():
        if kind is Recipe and key in nested:
            value = _record(nested[key], value, key)
        values[key] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def make_sources(recipe: Recipe, data: Path, prepared: Path) -> list[tuple[PairSource, float]]:
    """The pair sources a recipe names, with their shares; tuning videos are left out."""
    sources: list[tuple[PairSource, float]] = []
    for name, share in recipe.shares.items():
        if share <= 0:
            continue
        source: PairSource
        if name == "cutouts":
            backgrounds = sorted((data / "backgrounds").glob("*.jpg")) + sorted(
                (data / "aerial_cars").glob("*.jpg")
            )
            source = CutoutPairs(data / "cutout_sources", backgrounds)
        elif name == "aerial_cars":
            source = PhotoPairs(data / name)
        else:
            train, _ = split_videos(data / "splits.json", name)
            kept = [video for video in train if video not in recipe.tune_videos]
            source = VideoPairs(load_instances(prepared, [name], kept))
        sources.append((source, share))
    return sources


def fit(
    recipe: Recipe,
    data: Path,
    prepared: Path,
    output: Path,
    workers: int = 1,
    initial: Path | None = None,
) -> Path:
    """Train and return the path of the last checkpoint.

    Args:
        initial: checkpoint of another run whose averaged weights are the start, wherever name
            and shape agree.

    Returns:
        ``output/last.pt`` (weights, averaged weights, optimiser; resumed from when it is there).
        Beside it ``log.jsonl`` gets a line every 20 steps.
    """
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    output.mkdir(parents=True, exist_ok=True)
    model = Siamese(recipe.model)
    if recipe.weights:
        model.backbone.load_weights(data / recipe.weights)
    if initial is not None:
        _load_fitting(model, initial)
    model.to(device, memory_format=torch.channels_last)
    optimiser = _optimiser(model, recipe)
    averaged = {key: value.clone() for key, value in model.state_dict().items()}
    checkpoint, step = output / "last.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        averaged, step = saved["averaged"], saved["step"]
        print(f"resuming at step {step}")
    dataset = PairDataset(
        make_sources(recipe, data, prepared),
        recipe.pairs,
        (recipe.steps - step) * recipe.batch_size,
        recipe.seed + step,
    )
    loader = DataLoader(
        dataset,
        recipe.batch_size,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_one_thread,
    )
    _set_train_mode(model, recipe)
    started, sums = time.time(), {}
    with (output / "log.jsonl").open("a", encoding="utf-8") as log:
        for batch in loader:
            for group in optimiser.param_groups:
                group["lr"] = group["peak_lr"] * _schedule(step, recipe)
            frames = batch.searches.to(device).float().contiguous(memory_format=torch.channels_last)
            templates = (
                batch.templates.to(device).float().contiguous(memory_format=torch.channels_last)
            )
            features, kernels = model.encode_frame(frames), model.encode_template(templates)
            parts = _grouped_loss(model, features, kernels, batch, recipe)
            parts["identity"] = identity_loss(
                features,
                kernels,
                batch.boxes_xyxy.to(device),
                batch.present.to(device),
                batch.ignore.to(device),
                recipe.model.stride,
            )
            parts["total"] = parts["total"] + recipe.loss.identity * parts["identity"]
            if not torch.isfinite(parts["total"]):
                raise ConfigError(
                    f"The loss is {parts['total'].item()} at step {step}; lower lr ({recipe.lr})."
                )
            optimiser.zero_grad(set_to_none=True)
            parts["total"].backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            step += 1
            _average(averaged, model, min(recipe.ema, (1 + step) / (10 + step)))
            for key, value in parts.items():
                sums[key] = sums.get(key, 0.0) + value.item() / 20
            if step % 20 == 0:
                line = {
                    "step": step,
                    "seconds": round(time.time() - started, 1),
                    **{k: round(v, 4) for k, v in sums.items()},
                }
                log.write(json.dumps(line) + "\n")
                log.flush()
                print(line, flush=True)
                sums = {}
            if step % 200 == 0 or step == recipe.steps:
                _save(checkpoint, model, averaged, optimiser, step, recipe)
    return checkpoint


def _one_thread(worker: int) -> None:
    """Workers that thread on their own starve the network of cores."""
    cv2.setNumThreads(0)


def _grouped_loss(
    model: Siamese, features: Tensor, kernels: Tensor, batch: PairBatch, recipe: Recipe
) -> dict[str, Tensor]:
    """Mean loss over groups of the batch; within a group every frame meets every template."""
    sums: dict[str, Tensor] = {}
    starts = range(0, len(features), recipe.group_size)
    for start in starts:
        group = slice(start, start + recipe.group_size)
        parts = siamese_loss(
            model.match(features[group], kernels[group]),
            batch.boxes_xyxy[group].to(features.device),
            batch.present[group].to(features.device),
            batch.ignore[group, group].to(features.device),
            recipe.model.stride,
            recipe.loss,
        )
        for key, value in parts.items():
            sums[key] = sums.get(key, 0.0) + value / len(starts)
    return sums


def _load_fitting(model: Siamese, checkpoint: Path) -> None:
    """Take over what has the same name and shape; says how much that was."""
    given = torch.load(checkpoint, map_location="cpu", weights_only=True)["averaged"]
    own = model.state_dict()
    fitting = {
        key: value for key, value in given.items() if key in own and own[key].shape == value.shape
    }
    model.load_state_dict({**own, **fitting})
    print(f"{len(fitting)} of {len(own)} tensors start from {checkpoint}")


def load_checkpoint(path: Path) -> tuple[Siamese, dict[str, Any]]:
    """The averaged model of a checkpoint in eval mode, and its recipe as plain data."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    recipe = saved["recipe"]
    config = {**recipe["model"], "strides": tuple(recipe["model"]["strides"])}
    model = Siamese(SiameseConfig(**config))
    model.load_state_dict(saved["averaged"])
    return model.eval(), {**recipe, "steps_done": saved["step"]}


def _optimiser(model: Siamese, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.frozen_blocks:
        for name, child in model.backbone.net.named_children():
            if name == "blocks":
                for block in list(child)[: recipe.frozen_blocks]:
                    block.requires_grad_(False)
            elif not name.startswith("layer"):
                child.requires_grad_(False)
    backbone = [p for p in model.backbone.parameters() if p.requires_grad]
    rest = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    groups = [
        {"params": rest, "peak_lr": recipe.lr},
        {"params": backbone, "peak_lr": recipe.lr * recipe.backbone_lr_share},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def _set_train_mode(model: Siamese, recipe: Recipe) -> None:
    """Train mode, but the backbone's batch norms keep their statistics (small batches)."""
    model.train()
    model.backbone.eval()


def _schedule(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _average(averaged: dict[str, torch.Tensor], model: nn.Module, decay: float) -> None:
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            averaged[key].mul_(decay).add_(value.detach(), alpha=1 - decay)
        else:
            averaged[key].copy_(value)


def _save(
    path: Path,
    model: nn.Module,
    averaged: dict[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
    step: int,
    recipe: Recipe,
) -> None:
    plain = json.loads(json.dumps(asdict(recipe)))
    temporary = path.with_suffix(".tmp")
    torch.save(
        {
            "model": model.state_dict(),
            "averaged": averaged,
            "optimiser": optimiser.state_dict(),
            "step": step,
            "recipe": plain,
        },
        temporary,
    )
    temporary.replace(path)
