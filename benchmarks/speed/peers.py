"""Compares refdet with OpenCV's network tracker and template matching."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2

from benchmarks.speed.scene import TILES, TRACK, follow, object_boxes, set_templates, textured_frame
from benchmarks.speed.section import Chart, Section, skipped
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.errors import RefdetError
from refdet_core.types import Reference

_FOLLOWED, _SEARCHED = "refdet, one target followed", "refdet, whole frame in tiles"
_NANO, _MATCH = "cv2.TrackerNano", "cv2.matchTemplate, three scales"


def measure(settings: Settings) -> Section:
    """Milliseconds per frame for one object, with the same frame for all."""
    width, height = settings.frame_size
    title = f"Against OpenCV: a {width}x{height} frame, one object"
    try:
        from benchmarks.tracking import peers
        from refdet_training.evaluation.baselines import MatchTemplate
    except (ImportError, RefdetError) as error:
        return skipped(title, f"needs requirements/training.txt ({error}).")
    frame_bgr = textured_frame(settings.frame_size)
    (box_xyxy,) = object_boxes(settings.frame_size, 1)
    notes = [
        f"OpenCV on {cv2.getNumThreads()} thread(s). The trackers look into a window; "
        "refdet in tiles and matchTemplate look at the whole frame."
    ]
    cases: dict[str, Callable[[], object]] = {}
    with settings.open(TRACK) as followed, settings.open(TILES) as searched:
        follow(followed, frame_bgr, 1)
        set_templates(searched, frame_bgr, 1)
        cases[_FOLLOWED] = partial(followed.detect, frame_bgr)
        cases[_SEARCHED] = partial(searched.detect, frame_bgr)
        matching = MatchTemplate()
        matching.set_references([Reference(frame_bgr, box_xyxy)])
        cases[_MATCH] = partial(matching.detect, frame_bgr)
        try:
            nano: Any = peers.nano(settings.data / "weights")
        except RefdetError as error:
            notes.append(f"{_NANO} is not measured: {error}")
        else:
            nano.start(frame_bgr, box_xyxy)
            cases[_NANO] = partial(nano.update, frame_bgr, 0.0)
        timings = interleaved(cases, settings.rounds, settings.budget_s, warm_up=2)
    one = timings[_FOLLOWED]
    rows = [
        (name, t.median_ms, t.median_ms / one.median_ms, t.cpu_ms / one.cpu_ms)
        for name in (_FOLLOWED, _NANO, _SEARCHED, _MATCH)
        for t in (timings.get(name),)
        if t is not None
    ]
    return Section(
        title,
        ("", "ms", "to refdet followed", "CPU time to refdet followed"),
        rows,
        notes,
        Chart("bars", "ms a frame", {"": [(str(row[0]), float(row[1])) for row in rows]}),
    )
