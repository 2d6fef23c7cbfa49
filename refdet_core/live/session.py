"""The state of ``refdet live``: takes frames, keys and the mouse, returns a view.

It knows neither windows nor cameras, so that tests can drive it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Deque, Optional, Tuple, Union

import cv2
import numpy as np

from refdet_core.boxes import as_boxes, iou_matrix
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.errors import RefdetError
from refdet_core.live.layout import Layout, layout_for
from refdet_core.live.picture import NO_TARGET, Drawing, View, paint
from refdet_core.recording import frame_stem
from refdet_core.start_tracking import start_tracking
from refdet_core.templates import MIN_SIDE_PX
from refdet_core.types import BoxXYXY, FrameResult, Reference, TargetStatus
from refdet_core.video import Frame

SPACE, ESCAPE = "space", "escape"
PRESS, MOVE, RELEASE = "press", "move", "release"
HELP = (
    ("space", "pause, go on"),
    ("r", "draw a new box: another target"),
    ("a", "add a photo of the target: draw a box around it in this frame"),
    ("s", "save this frame, this view and the target's picture"),
    ("h", "this help"),
    ("Esc", "leave the drawing of a box, else quit"),
    ("q", "quit"),
)
_KEYS_HINT = "space: pause   r: new box   a: add a photo   s: save   h: help   q: quit"
_DRAW_HINT = "Drag a box around the object with the left mouse button."
_ADD_HINT = "Drag a box around the same object: one more photo of it.   Esc: back"
_NOTICE_S = 4.0
_RATE_FRAMES = 30


@dataclass(frozen=True)
class Key:
    """A key that was pressed: a lower-case letter, :data:`SPACE` or :data:`ESCAPE`."""

    name: str


@dataclass(frozen=True)
class Mouse:
    """The left button's :data:`PRESS` or :data:`RELEASE`, or a :data:`MOVE`; canvas pixels."""

    kind: str
    x: float
    y: float


Event = Union[Key, Mouse]


class Session:
    """One run: the first frame stays until there is a target, then frames are searched.

    Args:
        detector: its search must be ``track`` or ``auto``; with a template no box needs drawing.
        source_name: shown with the frame's name.
        folder: folder for saved pictures; made with the first one.
        clock: returns seconds; for the frame rate and the duration of notices.

    Attributes:
        done: whether the user wants to quit.
        seen: the frame on the screen and its result; None before the first search.
    """

    def __init__(
        self,
        detector: Detector,
        source_name: str,
        folder: Path,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.done = False
        self.seen: Optional[Tuple[Frame, FrameResult]] = None
        self._detector = detector
        self._source_name = source_name
        self._folder = folder
        self._clock = clock
        self._frame: Optional[Frame] = None
        self._drawing: Optional[Drawing] = None if detector.bank.templates else Drawing()
        self._pressed: Optional[Tuple[float, float]] = None
        self._adding = False
        self._paused = False
        self._help = False
        self._notice: Tuple[str, float] = ("", 0.0)
        self._searched_s: Deque[float] = deque(maxlen=_RATE_FRAMES)

    @property
    def wants_frame(self) -> bool:
        """Whether to take the next frame."""
        return self._frame is None or (self._drawing is None and not self._paused)

    @property
    def layout(self) -> Layout:
        """The layout of the canvas; needs a frame."""
        return layout_for(self._current.bgr.shape[1::-1])

    def take(self, frame: Frame) -> None:
        """Show and search this frame."""
        self._frame = frame
        if self._drawing is None:
            self._search()

    def handle(self, event: Event) -> None:
        """Handle a key or the mouse."""
        if isinstance(event, Mouse):
            self._draw(event)
            return
        if event.name != "h":
            self._help = False
        if event.name == ESCAPE and self._drawing is not None and self._detector.bank.templates:
            self._drawing = None
        elif event.name in (ESCAPE, "q"):
            self.done = True
        elif event.name == "h":
            self._help = not self._help
        elif event.name == "s":
            self._save()
        elif self._drawing is None and event.name == SPACE:
            self._paused = not self._paused
            self._searched_s.clear()
        elif self._drawing is None and event.name in ("r", "a"):
            self._drawing, self._pressed = Drawing(), None
            self._adding = event.name == "a"
            self._searched_s.clear()

    def view(self) -> View:
        """The present view; needs a frame."""
        frame = self._current
        shown_help = HELP if self._help else ()
        if self.seen is None:
            return View(frame.bgr, hint=self._hint, drawing=self._drawing, help=shown_help)
        result = self.seen[1]
        target = self._target(result)
        template = self._detector.bank.templates.get(DEFAULT_TEMPLATE_ID)
        return View(
            frame.bgr,
            target.state if target else NO_TARGET,
            result.detections,
            target.window_xyxy if target else None,
            result.heatmaps.get(DEFAULT_TEMPLATE_ID),
            template.thumbnails_bgr if template else (),
            self._status(frame, result, target),
            self._hint,
            self._drawing,
            shown_help,
        )

    @property
    def _current(self) -> Frame:
        assert self._frame is not None, "There is no frame yet."
        return self._frame

    @property
    def _hint(self) -> str:
        text, until_s = self._notice
        if text and self._clock() < until_s:
            return text
        if self._drawing is not None:
            if self._adding:
                return _ADD_HINT
            leave = "Esc: back" if self._detector.bank.templates else "h: help   q: quit"
            return f"{_DRAW_HINT}   {leave}"
        return f"PAUSED   {_KEYS_HINT.replace('pause', 'go on')}" if self._paused else _KEYS_HINT

    def _status(self, frame: Frame, result: FrameResult, target: Optional[TargetStatus]) -> str:
        parts = []
        if target is not None and target.track_id is not None:
            parts.append(f"#{target.track_id}")
        parts.append(f"presence {result.presence.get(DEFAULT_TEMPLATE_ID, 0.0):.2f}")
        times = self._searched_s
        if len(times) > 1 and times[-1] > times[0]:
            parts.append(f"{(len(times) - 1) / (times[-1] - times[0]):.1f} fps")
        parts.append(f"{sum(result.timings_ms.values()):.0f} ms")
        parts.append(f"{self._source_name} frame {frame.name}")
        return "   ".join(parts)

    @staticmethod
    def _target(result: FrameResult) -> Optional[TargetStatus]:
        return result.targets.get(DEFAULT_TEMPLATE_ID)

    def _search(self) -> None:
        frame = self._current
        result = self._detector.detect(frame.bgr, heatmaps=True, time_s=frame.time_s)
        self._searched_s.append(self._clock())
        self.seen = (frame, result)

    def _say(self, text: str) -> None:
        self._notice = (text, self._clock() + _NOTICE_S)

    def _draw(self, mouse: Mouse) -> None:
        if self._drawing is None or self._frame is None:
            return
        point = self.layout.to_frame(mouse.x, mouse.y)
        inside = self.layout.shows(mouse.x, mouse.y)
        if mouse.kind == PRESS and inside:
            self._pressed = point
        box_xyxy = self._box_to(point) if self._pressed is not None else None
        self._drawing = Drawing(point if inside or box_xyxy else None, box_xyxy)
        if mouse.kind == RELEASE and box_xyxy is not None:
            self._pressed = None
            self._drawing = Drawing(point)
            self._drawn(box_xyxy)

    def _box_to(self, point: Tuple[float, float]) -> BoxXYXY:
        """The box from the point of the button press to this point, clipped to the frame."""
        assert self._pressed is not None
        height, width = self._current.bgr.shape[:2]
        x1, x2 = (float(v) for v in np.clip(sorted((self._pressed[0], point[0])), 0, width))
        y1, y2 = (float(v) for v in np.clip(sorted((self._pressed[1], point[1])), 0, height))
        return x1, y1, x2, y2

    def _drawn(self, box_xyxy: BoxXYXY) -> None:
        """The box is complete: use it as the target, or as one more photo of it."""
        width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
        if min(width, height) < MIN_SIDE_PX:
            self._say(
                f"That box is {width:.0f}x{height:.0f} px; drag one of at least "
                f"{MIN_SIDE_PX}x{MIN_SIDE_PX} px around the object."
            )
            return
        frame_bgr = self._current.bgr
        try:
            if self._adding:
                reference = Reference(frame_bgr, box_xyxy, same_camera=True)
                self._detector.set_template([reference], append=True)
                if not self._follows(box_xyxy):
                    self._detector.lock(DEFAULT_TEMPLATE_ID, box_xyxy)
            else:
                start_tracking(self._detector, frame_bgr, box_xyxy)
        except RefdetError as error:
            self._say(str(error))
            return
        self._drawing, self._adding, self._paused = None, False, False
        self._search()

    def _follows(self, box_xyxy: BoxXYXY) -> bool:
        """Whether the target is already tracked there."""
        found = self.seen[1].detections if self.seen is not None else ()
        followed = as_boxes([detection.bbox_xyxy for detection in found])
        return bool((iou_matrix(followed, as_boxes(box_xyxy)) > 0).any())

    def _save(self) -> None:
        """Save the frame, the canvas, and the target as a photo."""
        stem = frame_stem(self._current.name)
        pictures = {"frame": self._current.bgr, "view": paint(self.view(), self.layout)}
        if self.seen is not None and self.seen[1].detections:
            x1, y1, x2, y2 = (max(0, round(v)) for v in self.seen[1].detections[0].bbox_xyxy)
            pictures["target"] = self._current.bgr[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            saved = [
                cv2.imwrite(str(self._folder / f"{stem}_{kind}.png"), picture)
                for kind, picture in pictures.items()
            ]
        except (OSError, cv2.error) as error:
            self._say(f"Not saved: {error}")
            return
        if not all(saved):
            self._say(f"Not saved: '{self._folder}' cannot be written.")
            return
        names = ", ".join(pictures)
        self._say(f"Saved {stem}_*.png ({names}) in {self._folder}")
