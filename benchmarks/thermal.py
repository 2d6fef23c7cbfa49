"""Raw thermal video: in how many frames is the target found, as 8 bits and as 14 of 16 bits?

    python -m benchmarks.thermal --data ../shared/data

The thermal clips of ``airborne_targets`` become raw counts: 8 counts a grey level from 7600 up,
with sensor noise and a drift. The target is the object of the first frame; it counts as found where
the best detection's centre lies in its labelled box.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refdet_core.contrast import Contrast
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.image_files import to_bgr8
from refdet_core.types import BoxXYXY, Reference

FRAMES = 60
LOWEST_COUNT, COUNTS_PER_GREY = 7600, 8
NOISE_COUNTS, DRIFT_COUNTS = 3.0, 2.0
"""Standard deviation of a pixel, and how far all of them move from one frame to the next."""
SETTINGS = ("8-bit", "full_range", "auto", "7600,9640")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with airborne_targets/")
    folder = parser.parse_args().data / "airborne_targets"
    entries = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    videos = [entry for entry in entries if entry["video_id"].startswith("IR_")]
    print("clip".ljust(16) + "".join(name.rjust(12) for name in SETTINGS))
    totals = dict.fromkeys(SETTINGS, 0)
    with Detector.open(config=DetectorConfig()) as detector:
        for video in videos:
            boxes = boxes_of(video)
            found = {name: found_in(detector, folder, video, boxes, name) for name in SETTINGS}
            totals = {name: totals[name] + found[name] for name in SETTINGS}
            print(video["video_id"].ljust(16) + "".join(f"{found[n]:12d}" for n in SETTINGS))
    total = FRAMES * len(videos)
    print(f"of {total}".ljust(16) + "".join(f"{totals[name]:12d}" for name in SETTINGS))


def boxes_of(video: dict[str, Any]) -> dict[int, BoxXYXY]:
    """The box of the object that is labelled in the first frame, by frame."""
    tracks = [
        {box["frame"]: (box["x1"], box["y1"], box["x2"], box["y2"]) for box in item["bboxes"]}
        for item in video["annotations"]
    ]
    return next(track for track in tracks if 0 in track)


def found_in(
    detector: Detector,
    folder: Path,
    video: dict[str, Any],
    boxes: dict[int, BoxXYXY],
    setting: str,
) -> int:
    """In how many of the first frames the object is found."""
    contrast = None if setting == "8-bit" else Contrast(setting)
    found = 0
    for number, grey in enumerate(grey_frames(folder / f"{video['video_id']}.mp4")):
        picture = grey if contrast is None else contrast.frame(raw_counts(grey, number))
        frame_bgr = to_bgr8(picture)
        if number == 0:
            detector.clear_template()
            detector.set_template([Reference(frame_bgr, boxes[0])])
        detections = detector.detect(frame_bgr).detections
        if detections and number in boxes:
            found += is_inside(detections[0].bbox_xyxy, boxes[number])
    return found


def grey_frames(path: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    for _ in range(FRAMES):
        readable, frame_bgr = capture.read()
        if not readable:
            return
        yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY)


def raw_counts(grey: np.ndarray, number: int) -> np.ndarray:
    """A frame as a thermal camera's 14-bit counts, ``(H, W)`` uint16."""
    noise = np.random.default_rng(number).normal(0, NOISE_COUNTS, grey.shape)
    counts = LOWEST_COUNT + COUNTS_PER_GREY * grey.astype(np.float64) + DRIFT_COUNTS * number
    return np.rint(counts + noise).astype(np.uint16)


def is_inside(box_xyxy: BoxXYXY, truth_xyxy: BoxXYXY) -> bool:
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2
    x1, y1, x2, y2 = truth_xyxy
    return x1 <= x <= x2 and y1 <= y <= y2


if __name__ == "__main__":
    main()
