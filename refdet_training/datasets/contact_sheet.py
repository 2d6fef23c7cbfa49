"""The contact sheet of the prepared objects, to spot wrong labels."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

import cv2
import numpy as np

from refdet_core.boxes import area, mean_side
from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import Instance
from refdet_training.datasets.manifest import size_histogram

_CROP = 150  # side of one picture, pixels of the sheet
_GAP = 10
_CAPTION = 22
_HEADER = 132
_MOMENTS = 3  # pictures of an object in a video: first, middle, last
_COLUMNS = 9  # pictures in one line
_MAX_PICTURES = 108
_CONTEXT = 3.0  # side of the crop, in sides of the box
_MIN_SIDE = 48.0  # of the crop, frame pixels: tiny objects need their surroundings

_PAPER = (32, 30, 28)
_INK = (235, 235, 235)
_FAINT = (150, 150, 150)
_BOX = (80, 230, 60)
_SPLIT_COLOURS = {"train": (230, 180, 90), "tune": (90, 200, 240), "val": (120, 120, 250)}
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(
    title: str, instances: Sequence[Instance], splits: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """A sheet with objects of all kinds in turn, each with its box, name, kind and split.

    An object in a video is shown in its first, middle and last frame, a photo's object once. The
    colour of the line under a picture marks the split.

    Returns:
        ``(H, W, 3)`` uint8 BGR.
    """
    moments = _MOMENTS if any(len(item.present) > 1 for item in instances) else 1
    chosen = _mixed_by_kind(instances, _MAX_PICTURES // moments)
    per_line = _COLUMNS // moments
    tile_width, tile_height = moments * _CROP, _CROP + _CAPTION
    lines = -(-len(chosen) // per_line)
    width = _GAP + per_line * (tile_width + _GAP)
    sheet = np.full((_HEADER + lines * (tile_height + _GAP) + _GAP, width, 3), _PAPER, np.uint8)
    shown = f"{len(chosen)} of {len(instances)} objects shown" if chosen else "no objects"
    _header(sheet[:_HEADER], title, shown, instances, splits)
    split_of = {video: split for split, videos in splits.items() for video in videos}
    for number, item in enumerate(chosen):
        line, column = divmod(number, per_line)
        x = _GAP + column * (tile_width + _GAP)
        y = _HEADER + line * (tile_height + _GAP)
        tile = sheet[y : y + tile_height, x : x + tile_width]
        _draw_tile(tile, item, moments, split_of.get(item.video_id, ""))
    return sheet


def _mixed_by_kind(instances: Sequence[Instance], most: int) -> list[Instance]:
    """One of each kind, then the next of each kind …; within a kind spread over its videos."""
    order = list(instances)
    if len(order) > most:  # alphabetical neighbours often share a place and a split
        random.Random(0).shuffle(order)
    by_kind: dict[str, dict[str, list[Instance]]] = defaultdict(lambda: defaultdict(list))
    for item in order:
        by_kind[item.kind][item.video_id].append(item)
    columns = [_in_turn(videos.values()) for _, videos in sorted(by_kind.items())]
    return _in_turn(columns)[:most]


def _in_turn(columns: Iterable[list[Instance]]) -> list[Instance]:
    return [item for one_round in zip_longest(*columns) for item in one_round if item is not None]


def _draw_tile(tile: np.ndarray, item: Instance, moments: int, split: str) -> None:
    present = item.present
    last = len(present) - 1
    numbers = [present[round(last * part / max(1, moments - 1))] for part in range(moments)]
    for column, number in enumerate(dict.fromkeys(numbers)):
        try:
            picture = _picture(item.read(number), item.boxes_xyxy[number])
        except SourceError:
            continue
        _text(picture, f"#{number}" if last else "", (5, _CROP - 6), 0.36)
        tile[:_CROP, column * _CROP : (column + 1) * _CROP] = picture
    cv2.line(tile, (0, _CROP), (tile.shape[1], _CROP), _SPLIT_COLOURS.get(split, _FAINT), 3)
    caption = f"{item.object_id}  {item.kind}" if item.kind else item.object_id
    _text(tile, _fit(caption, 0.4, tile.shape[1] - 4), (2, _CROP + 16), 0.4)


def _picture(frame: np.ndarray, box: BoxXYXY) -> np.ndarray:
    """A square around the box with the box drawn; the area outside the frame is blank."""
    x1, y1, x2, y2 = box
    side = max(_CONTEXT * max(x2 - x1, y2 - y1), _MIN_SIDE)
    size = int(np.ceil(side)) + 1
    a, b = int(np.floor((x1 + x2 - side) / 2)), int(np.floor((y1 + y2 - side) / 2))
    height, width = frame.shape[:2]
    canvas = np.full((size, size, 3), _PAPER, np.uint8)
    xs, ys = slice(max(a, 0), min(a + size, width)), slice(max(b, 0), min(b + size, height))
    canvas[ys.start - b : ys.stop - b, xs.start - a : xs.stop - a] = frame[ys, xs]
    method = cv2.INTER_AREA if size > _CROP else cv2.INTER_CUBIC
    picture = cv2.resize(canvas, (_CROP, _CROP), interpolation=method)
    corners = [round(v * _CROP / size) for v in (x1 - a, y1 - b, x2 - a, y2 - b)]
    # Around the object, so that a target of a few pixels stays visible.
    left_top, right_bottom = (corners[0] - 2, corners[1] - 2), (corners[2] + 1, corners[3] + 1)
    cv2.rectangle(picture, left_top, right_bottom, _BOX, 1)
    _text(picture, f"{mean_side(box):.0f} px", (5, 14), 0.36)
    return picture


def _header(
    band: np.ndarray,
    title: str,
    shown: str,
    instances: Sequence[Instance],
    splits: Mapping[str, Sequence[str]],
) -> None:
    boxes = np.array(
        [item.boxes_xyxy[number] for item in instances for number in item.present]
    ).reshape(-1, 4)
    sizes = np.sqrt(area(boxes))
    half = band.shape[1] // 2
    _text(band, _fit(title, 0.8, half), (_GAP, 34), 0.8)
    videos = len({item.video_id for item in instances})
    facts = f"{videos} videos or photos, {len(instances)} objects, {len(boxes)} boxes; {shown}"
    _text(band, facts, (_GAP, 62), 0.45, _FAINT)
    x = _GAP
    for name, members in splits.items():
        colour = _SPLIT_COLOURS.get(name, _FAINT)
        cv2.rectangle(band, (x, 82), (x + 14, 94), colour, -1)
        label = f"{name} ({len(members)})"
        _text(band, label, (x + 20, 93), 0.45)
        x += 40 + cv2.getTextSize(label, _FONT, 0.45, 1)[0][0]
    if len(sizes):
        _histogram(band[:, half + _GAP : -_GAP], sizes)


def _histogram(band: np.ndarray, sizes: np.ndarray) -> None:
    ranges = size_histogram(sizes)
    most = max(number for _, _, number in ranges)
    step = band.shape[1] // len(ranges)
    bottom, top = band.shape[0] - 32, 40
    title = f"boxes by size (square root of the area, from .. px); median {np.median(sizes):.0f} px"
    _text(band, title, (0, 18), 0.45, _FAINT)
    for place, (low, _, number) in enumerate(ranges):
        x = place * step
        height = round((bottom - top) * number / most)
        cv2.rectangle(band, (x, bottom - height), (x + step - 6, bottom), _BOX, -1)
        if number:
            _text(band, str(number), (x, bottom - height - 4), 0.34)
        _text(band, str(low), (x, bottom + 15), 0.34, _FAINT)


def _text(
    image: np.ndarray,
    text: str,
    origin: tuple[int, int],
    scale: float,
    colour: tuple[int, int, int] = _INK,
) -> None:
    cv2.putText(image, text, origin, _FONT, scale, _PAPER, 3, cv2.LINE_AA)
    cv2.putText(image, text, origin, _FONT, scale, colour, 1, cv2.LINE_AA)


def _fit(text: str, scale: float, width: int) -> str:
    """The text, shortened in the middle if it is too long."""
    keep = len(text)
    shown = text
    while keep > 4 and cv2.getTextSize(shown, _FONT, scale, 1)[0][0] > width:
        keep -= 1
        shown = f"{text[: keep // 2]}..{text[len(text) - keep // 2 :]}"
    return shown
