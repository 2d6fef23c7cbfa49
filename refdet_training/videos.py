"""Annotated video to an indexed folder of JPEG frames.

Input is a folder of ``<video_id>.mp4`` with an ``annotations.json``: one entry per video with
``video_id``, ``frames`` and, per object, ``labelled_frames`` (first and last annotated frame) and
``bboxes`` (``frame, x1, y1, x2, y2``, pixels, right and bottom edge exclusive). Inside the
labelled span a frame without a box means the object is absent; outside, nothing is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY

INDEX = "index.json"


@dataclass(frozen=True)
class Instance:
    """One object followed through one video.

    Attributes:
        object_id, video_id, source: names; ``source`` is the data set's folder name.
        family: instances of one family may be the same physical object or are too alike in
            origin to be called different; they are never negatives of each other.
        frames: JPEG path by frame number, only frames inside the labelled span.
        boxes_xyxy: box by frame number; a labelled frame without one shows the object absent.
    """

    object_id: str
    video_id: str
    source: str
    family: str
    frames: dict[int, Path]
    boxes_xyxy: dict[int, BoxXYXY]

    @property
    def present(self) -> list[int]:
        """Frame numbers where the object is visible, ascending."""
        return sorted(number for number in self.boxes_xyxy if number in self.frames)


def extract_frames(source: Path, output: Path, every: int = 1, quality: int = 92) -> None:
    """Decode all videos of a source folder into ``output/<source>/<video_id>/<frame>.jpg``.

    Videos already decoded are skipped. A video that ends early or does not open is an error.
    """
    annotations = json.loads((source / "annotations.json").read_text(encoding="utf-8"))
    for entry in tqdm(annotations, desc=f"frames of {source.name}", unit="video"):
        folder = output / source.name / entry["video_id"]
        done = folder / ".complete"
        if done.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = source / f"{entry['video_id']}.mp4"
        video = cv2.VideoCapture(str(path))
        for number in range(entry["frames"]):
            ok, frame = video.read()
            if not ok:
                raise SourceError(
                    f"{path} ends at frame {number}, annotations.json says {entry['frames']}."
                )
            if number % every == 0:
                cv2.imwrite(
                    str(folder / f"{number:06d}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, quality]
                )
        done.write_text(str(every))
    target = output / source.name / INDEX
    target.write_text(json.dumps(annotations), encoding="utf-8")


def load_instances(
    prepared: Path, sources: Sequence[str], video_ids: Sequence[str] | None = None
) -> list[Instance]:
    """Instances of the prepared sources, only of ``video_ids`` where given.

    Raises:
        SourceError: a source was not prepared, or nothing is left.
    """
    found: list[Instance] = []
    for source in sources:
        index = prepared / source / INDEX
        if not index.exists():
            raise SourceError(
                f"{prepared} holds no prepared '{source}'; run 'refdet-train prepare' first."
            )
        for entry in json.loads(index.read_text(encoding="utf-8")):
            if video_ids is None or entry["video_id"] in video_ids:
                found.extend(_instances(prepared / source, source, entry))
    if not found:
        raise SourceError(f"No instance of {list(sources)} is in the chosen videos.")
    return found


def _instances(folder: Path, source: str, entry: dict) -> list[Instance]:
    video_id = entry["video_id"]
    pictures = {int(path.stem): path for path in sorted((folder / video_id).glob("*.jpg"))}
    found = []
    for item in entry["annotations"]:
        first, last = item["labelled_frames"]
        frames = {number: path for number, path in pictures.items() if first <= number <= last}
        boxes: dict[int, BoxXYXY] = {
            box["frame"]: (box["x1"], box["y1"], box["x2"], box["y2"]) for box in item["bboxes"]
        }
        found.append(
            Instance(item["object_id"], video_id, source, _family(video_id), frames, boxes)
        )
    return found


def _family(video_id: str) -> str:
    """The video, except that numbered takes of one scene with the same people are one family."""
    return "wakeboard" if video_id.startswith("wakeboard") else video_id


def split_videos(splits: Path, source: str) -> tuple[list[str], list[str]]:
    """``(train, val)`` video ids of a source from ``splits.json``."""
    content = json.loads(splits.read_text(encoding="utf-8"))[source]
    return content["train"], content["val"]
