"""``refdet-train distil``: several published networks' features in one small backbone.

The student starts from published weights and keeps its layers up to its finest stride as they are.
From random crops of videos and photos, without any boxes, its other layers learn to tell, by a 1x1
convolution for each teacher, what the teachers' template encoders say of the crop. Prints each
teacher's error, 1 being that of its mean.

Give the output to ``fit`` as ``model.backbone_weights``. Leave out the videos that the result will
be measured on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from refdet_core.bundle import Bundle, load_bundle
from refdet_core.errors import ConfigError, SourceError
from refdet_core.imaging import to_blob
from refdet_core.model.backbone import Backbone
from refdet_core.model.backbones import BACKBONES, make_backbone
from refdet_training.datasets.readers.files import pictures_in
from refdet_training.initialisation import load_weights

TEACHERS = ("lighttrack", "nanotrackv3", "fear", "efficientnet_lite0")
VIDEO = ".mp4"
CROP = 128
FRAMES_PER_VIDEO = 24
LEAST_SIDE_PX = 48
BATCH = 16
STRIDES = (8, 16)
RATES = 4e-4, 3e-3
"""Of the student and of the convolutions that follow it."""
CLIP = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "pictures", type=Path, nargs="+", metavar="FOLDER", help=f"of {VIDEO}, .jpg or .png files"
    )
    parser.add_argument("--backbone", choices=BACKBONES, required=True, help="the student's")
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="FILE", help="that the student starts from"
    )
    parser.add_argument(
        "--cut-blocks", type=int, default=0, help="as model.network.cut_blocks (%(default)s)"
    )
    parser.add_argument(
        "--teachers", type=Path, nargs="+", metavar="BUNDLE", default=[*map(Path, TEACHERS)],
        help=f"({' '.join(TEACHERS)})",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=1500, help=f"of {BATCH} crops (%(default)s)")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help=".safetensors to write"
    )


def run(options: argparse.Namespace) -> None:
    """Train the student and write its weights.

    Raises:
        RefdetError: a bundle, the weights or the pictures cannot be used.
    """
    if options.steps < 1:
        raise ConfigError(f"--steps must be at least 1, got {options.steps}.")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    bundles = [load_bundle(folder) for folder in options.teachers]
    student = make_backbone(options.backbone, STRIDES, cut_blocks=options.cut_blocks)
    load_weights(student, options.backbone, options.weights)
    student.eval()  # its batch norms keep their statistics
    drawn = batches(pictures(options.pictures), rng)
    examples = np.concatenate([next(drawn), next(drawn)])
    teachers = {bundle.name: Teacher(bundle, examples) for bundle in bundles}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    distil(student, teachers, drawn, options.steps)
    save_file(student.net.state_dict(), options.output)
    print(f"weights: {options.output}")


class Teacher:
    """A published network's features of crops, each channel scaled to mean 0 and deviation 1.

    Args:
        examples: ``(N, 3, 128, 128)`` crops that the scale is taken from.
    """

    def __init__(self, bundle: Bundle, examples: np.ndarray) -> None:
        self._size = bundle.template_crop.size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(str(bundle.template_graph), options)
        self._input = self._session.get_inputs()[0].name
        features = self._features(examples)
        self.channels = features.shape[1]
        self._mean = features.mean((0, 2, 3), keepdim=True)
        deviation = features.std((0, 2, 3), keepdim=True)
        # Channels that hardly ever say anything are not blown up.
        self._deviation = deviation.clamp(min=0.1 * float(deviation.mean()))

    def __call__(self, crops: np.ndarray) -> Tensor:
        """``(N, C, h, w)``."""
        scaled = (self._features(crops) - self._mean) / self._deviation
        return scaled.clamp(-CLIP, CLIP)

    def _features(self, crops: np.ndarray) -> Tensor:
        sized = np.ascontiguousarray(crops[:, :, : self._size, : self._size])
        return torch.from_numpy(self._session.run(None, {self._input: sized})[0])


def pictures(folders: Sequence[Path]) -> list[np.ndarray | Path]:
    """Frames of the videos, BGR, and the photos' files.

    Raises:
        SourceError: a folder has neither.
    """
    found: list[np.ndarray | Path] = []
    for folder in folders:
        before = len(found)
        for path in sorted(folder.glob(f"*{VIDEO}")):
            video = cv2.VideoCapture(str(path))
            count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
            for number in np.linspace(0, max(0, count - 1), FRAMES_PER_VIDEO).astype(int):
                video.set(cv2.CAP_PROP_POS_FRAMES, int(number))
                done, frame_bgr = video.read()
                if done:
                    found.append(frame_bgr)
            video.release()
        found += pictures_in(folder)
        if len(found) == before:
            raise SourceError(f"{folder} holds no {VIDEO}, .jpg or .png files.")
    return found


def batches(among: Sequence[np.ndarray | Path], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random crops, mirrored, turned and lit differently, ``(BATCH, 3, 128, 128)`` RGB 0-255."""
    while True:
        yield to_blob([_crop(among[int(rng.integers(len(among)))], rng) for _ in range(BATCH)])


def _crop(picture: np.ndarray | Path, rng: np.random.Generator) -> np.ndarray:
    image = cv2.imread(str(picture)) if isinstance(picture, Path) else picture
    if image is None:
        raise SourceError(f"{picture} cannot be read as a picture.")
    height, width = image.shape[:2]
    whole = min(height, width)
    least = min(max(LEAST_SIDE_PX, 0.12 * whole), whole)
    side = int(np.exp(rng.uniform(np.log(least), np.log(whole))))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    method = cv2.INTER_AREA if side > CROP else cv2.INTER_LINEAR
    crop = cv2.resize(image[y : y + side, x : x + side], (CROP, CROP), interpolation=method)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    crop = np.rot90(crop, int(rng.integers(4)) if rng.random() < 0.3 else 0)
    lit = crop * rng.uniform(0.7, 1.3) + rng.uniform(-20, 20)
    return np.ascontiguousarray(np.clip(lit, 0, 255).astype(np.uint8))


def distil(
    student: Backbone, teachers: dict[str, Teacher], drawn: Iterator[np.ndarray], steps: int
) -> None:
    """Teach the student's layers behind its stem."""
    tellers = nn.ModuleList(
        nn.Sequential(  # features of any scale
            nn.BatchNorm2d(student.channels[-1], affine=False),
            nn.Conv2d(student.channels[-1], teacher.channels, 1),
        )
        for teacher in teachers.values()
    )
    layers = nn.ModuleList(student.parts()[-1])
    groups = [
        {"params": module.parameters(), "lr": rate}
        for module, rate in zip((layers, tellers), RATES, strict=True)
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, list(RATES), total_steps=steps + 1, pct_start=0.1
    )
    errors: dict[str, list[float]] = {name: [] for name in teachers}
    for step, crops in zip(range(steps), drawn, strict=False):
        with torch.no_grad():
            stem = student.stem(torch.from_numpy(crops))
        features = student.levels(stem)[-1]
        losses = []
        for (name, teacher), teller in zip(teachers.items(), tellers, strict=True):
            wanted = teacher(crops)
            told = F.interpolate(teller(features), wanted.shape[2:], mode="area")
            losses.append(F.mse_loss(told, wanted))
            errors[name].append(float(losses[-1].detach()))
        optimiser.zero_grad()
        torch.autograd.backward(losses)
        nn.utils.clip_grad_norm_([*layers.parameters(), *tellers.parameters()], 5.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 19 or step == steps - 1:
            means = {name: round(float(np.mean(found[-20:])), 3) for name, found in errors.items()}
            print(step + 1, means, flush=True)
