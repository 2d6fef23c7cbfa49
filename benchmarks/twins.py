"""Whether a target is kept apart from its twin: two things alike to the last pixel drive side by
side over a photo taken from above, and the target is hidden for a while.

    python -m benchmarks.twins --data ../shared/data [--hidden 3 8] [--side 28 44]

One row for each time hidden, in frames of a camera with 10 a second: the mean IoU in the frames
that show the target, and in how many of 49 the twin's box is reported, worst and mean over objects.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tracking.refdet import RefdetTrack
from refdet_core.detector_config import DetectorConfig
from refdet_core.metrics import box_iou
from refdet_core.types import BoxXYXY

OBJECTS = ("car-shadow", "car-roundabout", "drift-chicane", "scooter-black", "soapbox", "dog")
FRAMES = 50
FPS = 10
HIDDEN_FROM = 20
STEP_PX = (6.0, 1.0)
WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True)
class Outcome:
    """Of one object: mean IoU while in view, and frames on its twin."""

    mean_iou: float
    on_twin: int


def follow(method: RefdetTrack, ground: np.ndarray, thing: np.ndarray, hidden: int) -> Outcome:
    """Follow one thing beside its twin from its first box."""
    height, width = thing.shape[:2]
    overlaps, on_twin = [], 0
    for number in range(FRAMES):
        x, y = 200 + STEP_PX[0] * number, 300 + STEP_PX[1] * number
        twin_x = x + 1.5 * width + 8 * np.cos(number / 5)
        twin_y = y + 0.4 * height * np.sin(number / 9 + 1)
        frame = ground.copy()
        away = HIDDEN_FROM <= number < HIDDEN_FROM + hidden
        if not away:
            _paste(frame, thing, x, y)
        _paste(frame, thing, twin_x, twin_y)
        own: BoxXYXY = (x, y, x + width, y + height)
        twin: BoxXYXY = (twin_x, twin_y, twin_x + width, twin_y + height)
        if number == 0:
            method.start(frame, own)
            continue
        box = method.update(frame, number / FPS).box_xyxy
        here, there = (0.0 if box is None else box_iou(box, truth) for truth in (own, twin))
        on_twin += there > max(0.3, here)
        if not away:
            overlaps.append(here)
    return Outcome(float(np.mean(overlaps)), on_twin)


def _paste(frame: np.ndarray, thing: np.ndarray, x: float, y: float) -> None:
    left, top = round(x), round(y)
    height, width = thing.shape[:2]
    part = frame[top : top + height, left : left + width]
    share = thing[:, :, 3:] / 255
    part[:] = part * (1 - share) + thing[:, :, :3] * share


def _ground(data: Path) -> np.ndarray:
    picture = cv2.imread(str(sorted((data / "backgrounds").glob("brighton*"))[0]))
    assert picture is not None
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    return np.ascontiguousarray(cv2.resize(picture, (WIDTH, height))[:HEIGHT])


def _thing(folder: Path, side_px: float) -> np.ndarray:
    """A cut-out ``(h, w, 4)``, BGR and opacity."""
    picture = cv2.imread(str(sorted(folder.glob("*.webp"))[2]), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    scale = side_px / np.sqrt(picture.shape[0] * picture.shape[1])
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--hidden", type=int, nargs="+", default=[0, 3, 8], help="frames")
    parser.add_argument("--side", type=float, nargs="+", default=[28, 44], help="of a thing, px")
    options = parser.parse_args()
    ground = _ground(options.data)
    method = RefdetTrack(None, DetectorConfig())
    try:
        print("| hidden, frames | mean IoU | lowest | frames on the twin | most |")
        print("|---|---|---|---|---|")
        for hidden in options.hidden:
            found = [
                follow(method, ground, _thing(options.data / "object_cutouts" / name, side), hidden)
                for name in OBJECTS
                for side in options.side
            ]
            overlaps, twins = [one.mean_iou for one in found], [one.on_twin for one in found]
            print(
                f"| {hidden} | {np.mean(overlaps):.3f} | {min(overlaps):.3f} | "
                f"{np.mean(twins):.1f} | {max(twins)} |"
            )
    finally:
        method.close()


if __name__ == "__main__":
    main()
