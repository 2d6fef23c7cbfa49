"""Distils several published networks into one small backbone: can it see more than each of them?

    python -m benchmarks.distil --data ../shared/data --output distilled.safetensors
    refdet-train cross-validate … -- --model.backbone_weights distilled.safetensors …

The student starts from published weights and keeps its layers up to stride 8 as they are. From
random crops it learns to tell, by a 1x1 convolution for each teacher, what the teachers' template
encoders say of them. The videos that the folds of
places are made of are left out, so that one student serves all folds. Prints each teacher's error,
1 being that of its mean.
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

from refdet_core.bundle import BUNDLES_FOLDER, Bundle, load_bundle
from refdet_core.imaging import to_blob
from refdet_core.model.backbones import make_backbone

STUDENTS = {
    "fear_xs": ("fear_backbone.onnx", 0),
    "mobilenetv3_large_075": ("tf_mobilenetv3_large_075_coco_blocks0-5_fp16.safetensors", 1),
}
"""Name to the weights that it starts from, and the blocks that are cut from its end."""
VIDEOS = ("tracked_objects", "airborne_targets")
PHOTOS = ("cutout_sources", "backgrounds", "aerial_cars")
TEACHERS = ("lighttrack", "nanotrackv3", "fear", "efficientnet_lite0")
CROP = 128
FRAMES_PER_VIDEO = 24
LEAST_SIDE_PX = 48
BATCH = 16
RATES = 4e-4, 3e-3
"""Of the student and of the convolutions that follow it."""
CLIP = 5.0


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


def pictures(data: Path) -> list[np.ndarray | Path]:
    """Frames of videos, and photos."""
    found: list[np.ndarray | Path] = []
    for path in sorted(path for name in VIDEOS for path in (data / name).glob("*.mp4")):
        video = cv2.VideoCapture(str(path))
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        for number in np.linspace(0, count - 1, FRAMES_PER_VIDEO).astype(int):
            video.set(cv2.CAP_PROP_POS_FRAMES, int(number))
            done, frame_bgr = video.read()
            if done:
                found.append(frame_bgr)
    for name in PHOTOS:
        found += sorted((data / name).glob("*.jpg"))
    return found


def batches(among: Sequence[np.ndarray | Path], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random crops, mirrored, turned and lit differently, ``(BATCH, 3, 128, 128)`` RGB 0-255."""
    while True:
        yield to_blob([_crop(among[rng.integers(len(among))], rng) for _ in range(BATCH)])


def _crop(picture: np.ndarray | Path, rng: np.random.Generator) -> np.ndarray:
    image = cv2.imread(str(picture)) if isinstance(picture, Path) else picture
    height, width = image.shape[:2]
    whole = min(height, width)
    least = min(max(LEAST_SIDE_PX, 0.12 * whole), whole)
    side = int(np.exp(rng.uniform(np.log(least), np.log(whole))))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    method = cv2.INTER_AREA if side > CROP else cv2.INTER_LINEAR
    crop = cv2.resize(image[y : y + side, x : x + side], (CROP, CROP), interpolation=method)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    crop = np.rot90(crop, rng.integers(4) if rng.random() < 0.3 else 0)
    lit = crop * rng.uniform(0.7, 1.3) + rng.uniform(-20, 20)
    return np.ascontiguousarray(np.clip(lit, 0, 255).astype(np.uint8))


def distil(options: argparse.Namespace) -> None:
    """Train the student and write it as an ONNX graph."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    drawn = batches(pictures(options.data), rng)
    examples = np.concatenate([next(drawn), next(drawn)])
    teachers = {
        name: Teacher(load_bundle(BUNDLES_FOLDER / name), examples) for name in options.teachers
    }
    weights, cut_blocks = STUDENTS[options.student]
    student = make_backbone(options.student, (8, 16), cut_blocks=cut_blocks)
    student.load_weights(options.data / "weights" / weights)
    student.eval()  # its batch norms keep their statistics
    tellers = nn.ModuleDict(
        {
            name: nn.Sequential(  # features of any scale
                nn.BatchNorm2d(student.channels[-1], affine=False),
                nn.Conv2d(student.channels[-1], teacher.channels, 1),
            )
            for name, teacher in teachers.items()
        }
    )
    learning = nn.ModuleList([*student.parts()[-1], *tellers.values()])
    groups = [
        {"params": nn.ModuleList(student.parts()[-1]).parameters(), "lr": RATES[0]},
        {"params": tellers.parameters(), "lr": RATES[1]},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, list(RATES), total_steps=options.steps, pct_start=0.1
    )
    errors: dict[str, list[float]] = {name: [] for name in teachers}
    for step, crops in zip(range(options.steps), drawn, strict=False):
        with torch.no_grad():
            stem = student.stem(torch.from_numpy(crops))
        features = student.levels(stem)[-1]
        losses = []
        for name, teacher in teachers.items():
            wanted = teacher(crops)
            told = F.interpolate(tellers[name](features), wanted.shape[2:], mode="area")
            losses.append(F.mse_loss(told, wanted))
            errors[name].append(float(losses[-1].detach()))
        optimiser.zero_grad()
        sum(losses).backward()
        nn.utils.clip_grad_norm_(learning.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 19 or step == options.steps - 1:
            means = {name: round(float(np.mean(found[-20:])), 3) for name, found in errors.items()}
            print(step + 1, means, flush=True)
        if step % 200 == 199 or step == options.steps - 1:
            save_file(student.net.state_dict(), options.output)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--student", choices=STUDENTS, default="mobilenetv3_large_075")
    parser.add_argument("--teachers", nargs="+", choices=TEACHERS, default=TEACHERS)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--output", type=Path, required=True)
    distil(parser.parse_args())


if __name__ == "__main__":
    main()
