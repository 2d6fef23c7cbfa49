"""Paints the canvas of ``refdet live``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from refdet_core.drawing import STATE_COLOURS_BGR, ColourBGR, draw_box, fit, printable
from refdet_core.heatmap import colour
from refdet_core.imaging import Crop, extract, letterbox
from refdet_core.live.layout import CAPTION_PX, GAP_PX, Layout, Rectangle
from refdet_core.types import BoxXYXY, Detection

NO_TARGET = "no target"
NO_TARGET_COLOUR_BGR: ColourBGR = (200, 200, 200)
MAGNIFIED_PX = 40
"""Side of the magnifier's view in frame pixels."""
_GROUND, _BAR = 24, 44  # grey levels
_TEXT, _DIM = (235, 235, 235), (160, 160, 160)
_RUBBER_BAND: ColourBGR = (255, 255, 0)
_HEATMAP_STRENGTH = 0.6
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Drawing:
    """A box that is being drawn, in frame pixels.

    Attributes:
        cursor: where the mouse is; None: not over the frame.
        box_xyxy: from the point of the button press to the cursor; None before the press.
    """

    cursor: Optional[Tuple[float, float]] = None
    box_xyxy: Optional[BoxXYXY] = None


@dataclass(frozen=True)
class View:
    """Everything the canvas shows; boxes in frame pixels.

    Attributes:
        frame_bgr: the frame, ``(H, W, 3)`` uint8.
        state: ``searching``, ``tracking``, ``lost`` or :data:`NO_TARGET`.
        detections: the detections in the frame.
        window_xyxy: the search window; None: the whole frame was searched.
        heatmap: ``(h, w)`` float32 over the whole frame; None: none yet.
        thumbnails_bgr: photos of the template.
        status: the text beside the state.
        hint: what the user can do now, or what just happened.
        drawing: while a box is being drawn.
        help: keys and what they do, laid over the frame; empty: none.
    """

    frame_bgr: np.ndarray
    state: str = NO_TARGET
    detections: Tuple[Detection, ...] = ()
    window_xyxy: Optional[BoxXYXY] = None
    heatmap: Optional[np.ndarray] = None
    thumbnails_bgr: Tuple[np.ndarray, ...] = ()
    status: str = ""
    hint: str = ""
    drawing: Optional[Drawing] = None
    help: Tuple[Tuple[str, str], ...] = ()


def paint(view: View, layout: Layout) -> np.ndarray:
    """The canvas, ``(H, W, 3)`` uint8 of the layout's size."""
    canvas = np.full((layout.size[1], layout.size[0], 3), _GROUND, np.uint8)
    _paint_frame(_part(canvas, layout.frame), view, layout.scale)
    _paint_thumbnails(canvas, view, layout.thumbnails)
    if view.drawing is not None:
        _paint_magnifier(canvas, view.frame_bgr, view.drawing, layout.search)
    else:
        _paint_window(canvas, view, layout)
    _paint_bars(canvas, view, layout)
    return canvas


def _paint_frame(panel: np.ndarray, view: View, scale: float) -> None:
    height, width = view.frame_bgr.shape[:2]
    panel[:] = extract(view.frame_bgr, Crop(0, 0, width, height, panel.shape[1], panel.shape[0]))
    state_colour = colour_of_state(view.state)
    if view.drawing is not None:
        if view.drawing.box_xyxy is not None:
            draw_box(panel, _scaled(view.drawing.box_xyxy, scale), _RUBBER_BAND)
    else:
        if view.window_xyxy is not None:
            x1, y1, x2, y2 = (round(value) for value in _scaled(view.window_xyxy, scale))
            cv2.rectangle(panel, (x1, y1), (x2 - 1, y2 - 1), state_colour, 1)
        for detection in view.detections:
            draw_box(panel, _scaled(detection.bbox_xyxy, scale), state_colour, _label(detection))
    if view.help:
        panel //= 3
        for row, (key, meaning) in enumerate(view.help):
            _write(panel, key, (28, 44 + row * 30), _TEXT, 0.7)
            _write(panel, meaning, (120, 44 + row * 30), _TEXT, 0.7)


def _paint_thumbnails(canvas: np.ndarray, view: View, place: Rectangle) -> None:
    _caption(canvas, place, "template")
    if not view.thumbnails_bgr:
        return
    count = len(view.thumbnails_bgr)
    side = min(place.height, (place.width - (count - 1) * GAP_PX) // count)
    for index, thumbnail in enumerate(view.thumbnails_bgr):
        picture = fit(thumbnail, (side, side))
        height, width = picture.shape[:2]
        x, y = place.x + index * (side + GAP_PX), place.y
        canvas[y : y + height, x : x + width] = picture


def _paint_window(canvas: np.ndarray, view: View, layout: Layout) -> None:
    """The search window above its heatmap, at the same scale."""
    crop = _window_crop(view, layout.search)
    searched = "whole frame"
    if view.window_xyxy is not None:
        searched = f"search window ({crop.width}x{crop.height} px)"
    _caption(canvas, layout.search, searched)
    _caption(canvas, layout.heatmap, "heatmap")
    piece = extract(view.frame_bgr, crop)
    _part(canvas, layout.search)[:] = piece
    state_colour = colour_of_state(view.state)
    boxes = crop.to_network(np.array([item.bbox_xyxy for item in view.detections]).reshape(-1, 4))
    for box in boxes:
        x1, y1, x2, y2 = (float(value) for value in box)
        draw_box(_part(canvas, layout.search), (x1, y1, x2, y2), state_colour)
    if view.heatmap is not None:
        height, width = view.frame_bgr.shape[:2]
        hot = colour(_cut(view.heatmap, crop, (width, height)), (crop.out_width, crop.out_height))
        strength = _HEATMAP_STRENGTH
        _part(canvas, layout.heatmap)[:] = cv2.addWeighted(piece, 1 - strength, hot, strength, 0)


def _window_crop(view: View, place: Rectangle) -> Crop:
    """The crop in the square panels: the search window, or the whole frame."""
    if view.window_xyxy is None:
        return letterbox(view.frame_bgr.shape[1::-1], (place.width, place.height))
    x1, y1, x2, y2 = (round(value) for value in view.window_xyxy)
    return Crop(x1, y1, max(1, x2 - x1), max(1, y2 - y1), place.width, place.height)


def _cut(heatmap: np.ndarray, crop: Crop, frame_size: Tuple[int, int]) -> np.ndarray:
    """The heatmap of a crop, ``(out_height, out_width)``, with subcell precision."""
    # Heatmap pixels to crop pixels; pixel centres are at a half.
    scale_x = frame_size[0] / heatmap.shape[1] * crop.out_width / crop.width
    scale_y = frame_size[1] / heatmap.shape[0] * crop.out_height / crop.height
    shift_x = 0.5 * scale_x - 0.5 - crop.x * crop.out_width / crop.width
    shift_y = 0.5 * scale_y - 0.5 - crop.y * crop.out_height / crop.height
    matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
    return cv2.warpAffine(heatmap, matrix, (crop.out_width, crop.out_height))


def _paint_magnifier(
    canvas: np.ndarray, frame_bgr: np.ndarray, drawing: Drawing, place: Rectangle
) -> None:
    _caption(canvas, place, "magnifier")
    if drawing.cursor is None:
        return
    x, y = (int(value) - MAGNIFIED_PX // 2 for value in drawing.cursor)
    crop = Crop(x, y, MAGNIFIED_PX, MAGNIFIED_PX, place.width, place.height)
    panel = _part(canvas, place)
    panel[:] = extract(frame_bgr, crop)
    middle = place.width // 2
    cv2.line(panel, (middle, 0), (middle, place.height), _DIM, 1)
    cv2.line(panel, (0, middle), (place.width, middle), _DIM, 1)
    if drawing.box_xyxy is not None:
        ((x1, y1, x2, y2),) = crop.to_network(np.array([drawing.box_xyxy]))
        draw_box(panel, (float(x1), float(y1), float(x2), float(y2)), _RUBBER_BAND)


def _paint_bars(canvas: np.ndarray, view: View, layout: Layout) -> None:
    for bar in (layout.status, layout.hint):
        _part(canvas, bar)[:] = _BAR
    state = view.state.upper()
    plate = cv2.getTextSize(state, _FONT, 0.7, 2)[0][0] + 4 * GAP_PX
    canvas[: layout.status.height, :plate] = colour_of_state(view.state)
    baseline = layout.status.height - 12
    cv2.putText(canvas, state, (2 * GAP_PX, baseline), _FONT, 0.7, (0, 0, 0), 2, cv2.LINE_AA)
    _write(canvas, view.status, (plate + 2 * GAP_PX, baseline), _TEXT, 0.6)
    _write(canvas, view.hint, (2 * GAP_PX, layout.size[1] - 12), _TEXT, 0.6)


def _caption(canvas: np.ndarray, place: Rectangle, text: str) -> None:
    _write(canvas, text, (place.x, place.y - CAPTION_PX // 3), _DIM, 0.5)


def _write(
    picture: np.ndarray, text: str, origin: Tuple[int, int], text_colour: ColourBGR, size: float
) -> None:
    """One line, shrunk if it does not fit."""
    text = printable(text)
    width = cv2.getTextSize(text, _FONT, size, 1)[0][0]
    size *= min(1.0, (picture.shape[1] - origin[0] - GAP_PX) / max(1, width))
    cv2.putText(picture, text, origin, _FONT, size, text_colour, 1, cv2.LINE_AA)


def _label(detection: Detection) -> str:
    name = "" if detection.track_id is None else f"#{detection.track_id} "
    return f"{name}{detection.score:.2f}"


def _scaled(box_xyxy: Sequence[float], scale: float) -> BoxXYXY:
    x1, y1, x2, y2 = (value * scale for value in box_xyxy)
    return x1, y1, x2, y2


def _part(canvas: np.ndarray, place: Rectangle) -> np.ndarray:
    return canvas[place.y : place.y + place.height, place.x : place.x + place.width]


def colour_of_state(state: str) -> ColourBGR:
    """The colour of a state, and of :data:`NO_TARGET`."""
    return STATE_COLOURS_BGR.get(state, NO_TARGET_COLOUR_BGR)
