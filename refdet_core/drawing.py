"""Drawing on frames: detections, captions and contact sheets, legible at any frame size."""

from __future__ import annotations

import zlib
from typing import Iterable, Sequence, Tuple

import cv2
import numpy as np

from refdet_core.imaging import resize
from refdet_core.types import LOST, SEARCHING, TRACKING, BoxXYXY, Detection

ColourBGR = Tuple[int, int, int]

TRUTH_COLOUR: ColourBGR = (255, 255, 255)
STATE_COLOURS_BGR: dict[str, ColourBGR] = {
    SEARCHING: (0, 190, 255),
    TRACKING: (70, 220, 70),
    LOST: (70, 70, 255),
}
PALETTE_BGR: tuple[ColourBGR, ...] = (
    (60, 220, 60),
    (0, 170, 255),
    (255, 130, 60),
    (220, 90, 255),
    (0, 230, 230),
    (240, 220, 40),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT_PX = 22.0  # height of a capital letter at font scale 1


def template_colour(template_id: str) -> ColourBGR:
    """The same colour for the same template in every frame and every run."""
    return PALETTE_BGR[zlib.crc32(template_id.encode("utf-8")) % len(PALETTE_BGR)]


def draw_detections(frame_bgr: np.ndarray, detections: Iterable[Detection]) -> np.ndarray:
    """Draw boxes with template id, track id and score on the frame itself, and return it."""
    for detection in detections:
        name = detection.template_id
        if detection.track_id is not None:
            name = f"{name} #{detection.track_id}"
        label = f"{name} {detection.score:.2f}"
        draw_box(frame_bgr, detection.bbox_xyxy, template_colour(detection.template_id), label)
    return frame_bgr


def draw_box(
    frame_bgr: np.ndarray, box_xyxy: BoxXYXY, colour: ColourBGR, label: str = ""
) -> np.ndarray:
    """Draw one box around its pixels, so that a small object stays visible."""
    height, width = frame_bgr.shape[:2]
    thickness = _line_width(frame_bgr)
    # Coordinates far outside would overflow OpenCV's 16-bit fixed-point lines.
    low, high = np.array([0, 0, 0, 0]), np.array([width - 1, height - 1, width - 1, height - 1])
    # The line's dark rim just touches the box; its right and bottom edges are exclusive.
    rim = (thickness + 2) // 2
    grown = np.array(box_xyxy) + np.array([-rim - 1, -rim - 1, rim, rim])
    x1, y1, x2, y2 = (int(value) for value in np.clip(np.rint(grown), low, high))
    cv2.rectangle(frame_bgr, (x1, y1), (x2, y2), (0, 0, 0), thickness + 2)
    cv2.rectangle(frame_bgr, (x1, y1), (x2, y2), colour, thickness)
    if label:
        text_height = _label_size(frame_bgr, label)[1]
        above = y1 - text_height - thickness
        draw_text(frame_bgr, label, (x1, above if above >= 0 else y2 + thickness), colour)
    return frame_bgr


def draw_text(
    frame_bgr: np.ndarray,
    text: str,
    top_left: tuple[int, int],
    colour: ColourBGR = (255, 255, 255),
) -> np.ndarray:
    """Write one line on a dark plate, moved into the frame if necessary."""
    scale, stroke, pad = _text_style(frame_bgr, text)
    (text_width, text_height), baseline = cv2.getTextSize(printable(text), _FONT, scale, stroke)
    plate_width, plate_height = text_width + 2 * pad, text_height + baseline + 2 * pad
    height, width = frame_bgr.shape[:2]
    x = max(0, min(top_left[0], width - plate_width))
    y = max(0, min(top_left[1], height - plate_height))
    plate = frame_bgr[y : y + plate_height, x : x + plate_width]
    plate[:] = plate // 4
    origin = (x + pad, y + pad + text_height)
    cv2.putText(frame_bgr, printable(text), origin, _FONT, scale, colour, stroke, cv2.LINE_AA)
    return frame_bgr


def draw_magnified(frame_bgr: np.ndarray, box_xyxy: BoxXYXY, share: float = 0.35) -> np.ndarray:
    """Show the surroundings of a small box enlarged, in the corner farthest from it.

    Args:
        frame_bgr: drawn on, and returned.
        box_xyxy: the box to magnify; nothing is drawn if it would not get larger.
        share: side of the picture-in-picture, as a share of the frame's shorter side.
    """
    height, width = frame_bgr.shape[:2]
    side = int(share * min(height, width))
    x1, y1, x2, y2 = box_xyxy
    window = min(max(24, round(3 * max(x2 - x1, y2 - y1))), height, width)
    if side < 1.5 * window:
        return frame_bgr
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    left = int(np.clip(centre_x - window / 2, 0, width - window))
    top = int(np.clip(centre_y - window / 2, 0, height - window))
    piece = frame_bgr[top : top + window, left : left + window]
    enlarged = cv2.resize(piece, (side, side), interpolation=cv2.INTER_CUBIC)
    x = width - side if centre_x < width / 2 else 0
    y = height - side if centre_y < height / 2 else 0
    frame_bgr[y : y + side, x : x + side] = enlarged
    cv2.rectangle(frame_bgr, (x, y), (x + side - 1, y + side - 1), (255, 255, 255), 2)
    return frame_bgr


def contact_sheet(
    images_bgr: Sequence[np.ndarray],
    captions: Sequence[str] | None = None,
    columns: int = 4,
    cell_size: tuple[int, int] = (480, 320),
    gap: int = 8,
) -> np.ndarray:
    """Images in rows on a dark ground, each shrunk or enlarged to fit its cell.

    Args:
        images_bgr: at least one ``(H, W, 3)`` uint8 image, of any sizes.
        captions: one line under each image.
        columns: images in a row, if there are as many.
        cell_size: ``(width, height)`` of a cell without its caption.
        gap: pixels between cells.
    """
    if not len(images_bgr):
        raise ValueError("A contact sheet needs at least one image.")
    if captions is not None and len(captions) != len(images_bgr):
        raise ValueError(f"{len(images_bgr)} images but {len(captions)} captions.")
    columns = min(columns, len(images_bgr))
    rows = -(-len(images_bgr) // columns)
    caption_height = 28 if captions is not None else 0
    step_x, step_y = cell_size[0] + gap, cell_size[1] + caption_height + gap
    sheet = np.full((rows * step_y + gap, columns * step_x + gap, 3), 24, dtype=np.uint8)
    for index, image in enumerate(images_bgr):
        left, top = gap + index % columns * step_x, gap + index // columns * step_y
        picture = fit(image, cell_size)
        x = left + (cell_size[0] - picture.shape[1]) // 2
        y = top + (cell_size[1] - picture.shape[0]) // 2
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        if captions is not None:
            strip = sheet[
                top + cell_size[1] : top + cell_size[1] + caption_height, left : left + cell_size[0]
            ]
            _write_caption(strip, captions[index])
    return sheet


def fit(image_bgr: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image scaled, aspect kept, to fit in ``size = (width, height)``."""
    scale = min(size[0] / image_bgr.shape[1], size[1] / image_bgr.shape[0])
    out = (max(1, int(image_bgr.shape[1] * scale)), max(1, int(image_bgr.shape[0] * scale)))
    return resize(image_bgr, out, cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _write_caption(strip: np.ndarray, text: str) -> None:
    text = printable(text)
    scale = 0.55
    width = cv2.getTextSize(text, _FONT, scale, 1)[0][0]
    scale *= min(1.0, (strip.shape[1] - 4) / max(1, width))
    cv2.putText(strip, text, (2, strip.shape[0] - 9), _FONT, scale, (235, 235, 235), 1, cv2.LINE_AA)


def _line_width(frame_bgr: np.ndarray) -> int:
    longer: int = max(frame_bgr.shape[:2])
    return max(1, round(longer / 640))


def _text_style(frame_bgr: np.ndarray, text: str) -> tuple[float, int, int]:
    """Font scale, stroke and padding: about 1/45 of the frame's height, limited by its width."""
    height, width = frame_bgr.shape[:2]
    capital = max(9.0, height / 45)
    scale = capital / _FONT_HEIGHT_PX
    pad = max(2, round(capital / 4))
    text_width = cv2.getTextSize(printable(text), _FONT, scale, 1)[0][0]
    scale *= min(1.0, max(1, width - 2 * pad) / max(1, text_width))
    return scale, max(1, round(scale * 2)), pad


def _label_size(frame_bgr: np.ndarray, text: str) -> tuple[int, int]:
    scale, stroke, pad = _text_style(frame_bgr, text)
    (width, height), baseline = cv2.getTextSize(printable(text), _FONT, scale, stroke)
    return width + 2 * pad, height + baseline + 2 * pad


def printable(text: str) -> str:
    """OpenCV's stroke fonts draw only printable ASCII; other characters become '?'."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)
