"""Real frames to look at: a few of each annotated video, as pictures in one folder.

    python -m benchmarks.gpu.footage --data ../shared/data --output runs/gpu/footage

Takes the videos of the data's ``val`` split. Without such data it takes the demo's clip.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refdet_core.backends.engines.samples import draw_scene
from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY, Reference

INDEX = "footage.json"
REFERENCES, PRESENT, ABSENT = 3, 10, 4  # pictures for each object
_REFERENCE_SHARE = 0.1  # references come from the first frames that show the object
_QUALITY = 92
_DRAWN_SIZE = (1280, 720)


@dataclass(frozen=True)
class Shot:
    """A frame; ``box_xyxy`` is None where the object is not in it."""

    frame_bgr: np.ndarray
    box_xyxy: BoxXYXY | None


@dataclass(frozen=True)
class Target:
    """One object, photos of it, and frames to find it in."""

    name: str
    references: Sequence[Reference]
    shots: Sequence[Shot]


@dataclass(frozen=True)
class Footage:
    """The frames to search.

    Attributes:
        source: where it comes from, for the report.
    """

    source: str
    targets: Sequence[Target]

    @property
    def frames(self) -> list[np.ndarray]:
        """Frames that show an object, one of each object in turn."""
        rows = [
            [shot.frame_bgr for shot in target.shots if shot.box_xyxy] for target in self.targets
        ]
        most = max((len(row) for row in rows), default=0)
        return [row[index] for index in range(most) for row in rows if index < len(row)]


def read_footage(folder: Path) -> Footage:
    """The stored frames, or drawn scenes if the folder has none.

    Raises:
        SourceError: a picture is missing or broken.
    """
    index = folder / INDEX
    if not index.is_file():
        return _drawn()
    content = json.loads(index.read_text(encoding="utf-8"))
    pictures: dict[str, np.ndarray] = {}

    def picture(name: str) -> np.ndarray:
        if name not in pictures:
            frame_bgr = cv2.imread(str(folder / name))
            if frame_bgr is None:
                raise SourceError(f"{folder / name} cannot be read: pack the footage again.")
            pictures[name] = frame_bgr
        return pictures[name]

    targets = [
        Target(
            item["name"],
            [Reference(picture(name), tuple(box), True) for name, box in item["references"]],
            [Shot(picture(name), tuple(box) if box else None) for name, box in item["shots"]],
        )
        for item in content["targets"]
    ]
    return Footage(content["source"], targets)


def _drawn() -> Footage:
    scenes = [draw_scene(*_DRAWN_SIZE, seed=seed) for seed in range(6)]
    targets = [
        Target(
            f"body {kind}",
            [Reference(scenes[0].frame_bgr, scenes[0].boxes_xyxy[kind], True)],
            [Shot(scene.frame_bgr, scene.boxes_xyxy[kind]) for scene in scenes[1:]],
        )
        for kind in range(2)
    ]
    return Footage("drawn scenes, because no footage is stored here", targets)


def write_footage(folder: Path, data: Path | None, cache: Path) -> Footage:
    """Store frames of the data's ``val`` videos, or else of the demo's clip.

    Args:
        data: folder with ``aerial_sequences`` and ``splits.json``; None or not there: the clip.
        cache: folder for the clip.

    Raises:
        RefdetError: there is no data and the clip cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if data is not None and (data / "splits.json").is_file():
        videos = data / "aerial_sequences"
        wanted = json.loads((data / "splits.json").read_text())["aerial_sequences"]["val"]
        source = "val of aerial_sequences: " + ", ".join(wanted)
        annotations = videos / "annotations.json"
        paths = {name: videos / f"{name}.mp4" for name in wanted}
    else:
        from refdet_ros.demo.footage import fetch_footage
        from refdet_ros.demo.scene import ANNOTATIONS

        source, annotations = "the demo's clip vtest.avi", ANNOTATIONS
        paths = {"vtest": fetch_footage(cache)}
    entries = json.loads(annotations.read_text(encoding="utf-8"))
    entries = [entry for entry in entries if entry["video_id"] in paths]
    plans = [plan for entry in entries for plan in _plans(entry)]
    _write_frames(folder, paths, plans)
    targets = [_described(plan, plans) for plan in plans]
    content = json.dumps({"source": source, "targets": targets}, indent=1)
    (folder / INDEX).write_text(content + "\n", encoding="utf-8")
    return read_footage(folder)


@dataclass(frozen=True)
class _Plan:
    """The frames of one object that are stored, with its boxes."""

    name: str
    video: str
    references: Mapping[int, BoxXYXY]
    shots: Mapping[int, BoxXYXY]


def _plans(entry: Mapping[str, Any]) -> Iterator[_Plan]:
    for item in entry["annotations"]:
        boxes = {
            box["frame"]: tuple(float(box[side]) for side in ("x1", "y1", "x2", "y2"))
            for box in item["bboxes"]
        }
        frames = sorted(boxes)
        first = max(REFERENCES, round(len(frames) * _REFERENCE_SHARE))
        if len(frames) <= first:
            continue
        references = {number: boxes[number] for number in _spread(frames[:first], REFERENCES)}
        shots = {number: boxes[number] for number in _spread(frames[first:], PRESENT)}
        yield _Plan(item["object_id"], entry["video_id"], references, shots)


def _spread(items: Sequence[int], count: int) -> list[int]:
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]


def _described(plan: _Plan, plans: Sequence[_Plan]) -> dict[str, Any]:
    """Frames of other videos are those without the object."""
    others = [
        (_file(other.video, number), None)
        for other in plans
        if other.video != plan.video
        for number in list(other.shots)[::4]
    ]
    step = max(1, len(others) // ABSENT)
    return {
        "name": plan.name,
        "references": [(_file(plan.video, key), box) for key, box in plan.references.items()],
        "shots": [(_file(plan.video, key), box) for key, box in plan.shots.items()]
        + others[::step][:ABSENT],
    }


def _file(video: str, number: int) -> str:
    return f"{video}-{number:05d}.jpg"


def _write_frames(folder: Path, paths: Mapping[str, Path], plans: Sequence[_Plan]) -> None:
    for video, path in paths.items():
        wanted = {
            n for plan in plans if plan.video == video for n in (*plan.references, *plan.shots)
        }
        capture = cv2.VideoCapture(str(path))
        for number in range(max(wanted, default=-1) + 1):
            there, frame_bgr = capture.read()
            if not there:
                raise SourceError(f"{path} ends before frame {max(wanted)}.")
            if number in wanted:
                name = str(folder / _file(video, number))
                cv2.imwrite(name, frame_bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        capture.release()


def main() -> None:
    """Store the frames and print a summary."""
    parser = argparse.ArgumentParser(description="Stores real frames for benchmarks.gpu.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, default=Path("runs/gpu/footage"))
    parser.add_argument(
        "--cache", type=Path, default=Path("demo_output"), help="of the demo's clip"
    )
    options = parser.parse_args()
    footage = write_footage(options.output, options.data, options.cache)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{footage.source}: {len(footage.targets)} objects, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
