"""Tiny annotated videos in the layout of the real data, so that the whole pipeline can run."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

try:
    import torch

    # Two threads on two busy cores wait for each other longer than they work.
    torch.set_num_threads(1)
except ImportError:
    collect_ignore_glob = ["test_*.py"]

COLOURS_BGR = {
    "red": (30, 30, 220),
    "green": (30, 200, 30),
    "blue": (220, 60, 30),
    "white": (240, 240, 240),
}
FRAMES = 44


def _video(path, colour, seed):
    """A textured square wanders over a grey field; returns its boxes. Frames 20-21 lack it."""
    rng = np.random.default_rng(seed)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (320, 240))
    boxes = []
    for number in range(FRAMES):
        frame = rng.normal(110, 4, (240, 320, 3)).clip(0, 255).astype(np.uint8)
        x, y = 20 + 5 * number, 40 + 3 * number
        if number not in (20, 21):
            cv2.rectangle(frame, (x, y), (x + 29, y + 29), COLOURS_BGR[colour], -1)
            cv2.line(frame, (x, y), (x + 29, y + 29), (0, 0, 0), 3)
            boxes.append({"frame": number, "x1": x, "y1": y, "x2": x + 30, "y2": y + 30})
        writer.write(frame)
    writer.release()
    return boxes


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folder with both video sources, splits, cut-outs, photos and backgrounds."""
    root = tmp_path_factory.mktemp("data")
    splits = {}
    for source in ("aerial_sequences", "airborne_targets"):
        folder = root / source
        folder.mkdir()
        entries = []
        for seed, colour in enumerate(COLOURS_BGR):
            video_id = f"{source}_{colour}"
            boxes = _video(folder / f"{video_id}.mp4", colour, seed)
            entries.append(
                {
                    "video_id": video_id,
                    "source": "made",
                    "width": 320,
                    "height": 240,
                    "fps": 10,
                    "frames": FRAMES,
                    "annotations": [
                        {"object_id": video_id, "labelled_frames": [0, FRAMES - 1], "bboxes": boxes}
                    ],
                }
            )
        (folder / "annotations.json").write_text(json.dumps(entries))
        names = [entry["video_id"] for entry in entries]
        splits[source] = {"train": names[:3], "val": names[3:]}
    (root / "splits.json").write_text(json.dumps(splits))
    rng = np.random.default_rng(0)
    for folder, count, size in (
        ("cutout_sources", 6, 160),
        ("backgrounds", 2, 400),
        ("aerial_cars", 2, 400),
    ):
        (root / folder).mkdir()
        for number in range(count):
            picture = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(root / folder / f"{chr(97 + number)}.jpg"), picture)
    (root / "aerial_cars" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n0 0.2 0.3 0.08 0.1\n")
    return root
