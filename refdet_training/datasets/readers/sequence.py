"""Single-object tracking sequences: one box per line, and files that flag hidden frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.files import (
    box_lines,
    flags_of,
    frames_for_lines,
    says_absent,
    split_of,
    xyxy,
)
from refdet_training.datasets.readers.record import ObjectTrack, Video


def sequence_video(
    sequence: Path,
    pictures: Path,
    root: Path,
    kind: str,
    hidden_flags: Mapping[str, int],
    first_pixel: int,
    problems: Problems,
) -> Video:
    """One sequence folder with its ``groundtruth.txt`` (``x,y,w,h`` per line).

    Args:
        sequence: the folder; its name is the video's and the object's.
        pictures: folder of the numbered pictures.
        root: the data set's folder; a "train" or "val" on the way there is the split.
        kind: category.
        hidden_flags: flag file by name, and the flag that says "not visible in this frame".
        first_pixel: 0 or 1, what the labels call the first pixel.
        problems: collects problems.
    """
    labels = sequence / "groundtruth.txt"
    boxes = box_lines(labels, problems)
    known = {number: box for number, box in enumerate(boxes) if box is not None}
    hidden: set[int] = set()
    for name, hidden_value in hidden_flags.items():
        flags = flags_of(sequence / name, problems)
        if flags is None:
            continue
        hidden |= {number for number, flag in enumerate(flags) if flag == hidden_value}
        if len(flags) != len(boxes):
            problems.add(
                "label_missing", sequence / name, None, f"{len(flags)} flags, {len(boxes)} boxes"
            )
            known = {number: box for number, box in known.items() if number < len(flags)}
    frames = frames_for_lines(pictures, len(boxes))
    unlabelled = [number for number in frames if number >= len(boxes)]
    if unlabelled:
        problems.add(
            "label_missing",
            labels,
            unlabelled[0],
            f"{len(boxes)} lines, {len(frames)} pictures; the rest is left out",
        )
    visible = {
        number: xyxy(box, first_pixel)
        for number, box in known.items()
        if number not in hidden and not says_absent(box)
    }
    return Video(
        sequence.name,
        frames,
        (ObjectTrack(sequence.name, kind, frozenset(known), visible),),
        labels,
        split_of(sequence.relative_to(root).parts[:-1]),
    )
