"""Reference photos from service requests and from files, as ``refdet_core`` takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
from rclpy.time import Time
from refdet_msgs.msg import TemplateReference
from sensor_msgs.msg import CompressedImage, RegionOfInterest

from refdet_core.errors import BadReferenceError, ConfigError, RefdetError, SourceError
from refdet_core.image_files import Stretch, read_image
from refdet_core.image_header import image_size
from refdet_core.roi import clip_roi, parse_roi
from refdet_core.templates import MAX_REFERENCES
from refdet_core.types import BoxXYXY, Reference
from refdet_ros.camera import CameraMessage, to_bgr

_OLDEST_S = 10.0  # an object may be anywhere by then


@dataclass(frozen=True)
class Place:
    """Where an object is in the newest camera frame, or was in an earlier one.

    Attributes:
        age_s: how much earlier; 0 for the newest frame.
    """

    box_xyxy: BoxXYXY
    age_s: float = 0.0


@dataclass(frozen=True)
class RequestedReferences:
    """The references of a request.

    Attributes:
        place: the object's newest known place; None if no reference is a frame of the camera.
    """

    references: Tuple[Reference, ...]
    place: Optional[Place] = None


def from_request(
    references: Sequence[TemplateReference],
    newest: Optional[CameraMessage],
    stretch: Optional[Stretch] = None,
) -> RequestedReferences:
    """Decode the references of a ``SetTemplate`` request.

    Args:
        newest: the newest camera frame, None if there is none.
        stretch: makes photos of more than 8 bits uint8; None takes the range they use.

    Raises:
        RefdetError: a reference cannot be used; the message names it.
    """
    # Checked before decoding, so that a request with a hundred photos is refused at once.
    if not 1 <= len(references) <= MAX_REFERENCES:
        raise BadReferenceError(
            f"A template takes 1 to {MAX_REFERENCES} references, got {len(references)}."
        )
    result, places = [], []
    for number, message in enumerate(references, start=1):
        try:
            reference = _from_picture(message, stretch)
            if reference is None:
                reference = _from_frame(message, newest, stretch)
                if reference.roi_xyxy is not None:
                    places.append(Place(reference.roi_xyxy))
            elif newest is not None:
                places += _places(message, reference, newest)
        except RefdetError as error:
            raise BadReferenceError(f"Reference {number} of {len(references)}: {error}") from error
        result.append(reference)
    newest_place = min(places, key=lambda place: place.age_s, default=None)
    return RequestedReferences(tuple(result), newest_place)


def from_files(
    paths: Sequence[str],
    rois: str,
    same_camera: bool = False,
    stretch: Optional[Stretch] = None,
) -> List[Reference]:
    """Read photos from files.

    Args:
        rois: ``X,Y,W,H`` in pixels for each photo, separated by ``;``; empty takes whole photos.
        same_camera: see :class:`~refdet_core.types.Reference`.
        stretch: makes photos of more than 8 bits uint8; None takes the range they use.

    Raises:
        BadReferenceError: a file cannot be read, or a ROI is not four numbers inside its photo.
    """
    boxes = [part.strip() for part in rois.split(";")] if rois.strip() else [""] * len(paths)
    if len(boxes) != len(paths):
        raise BadReferenceError(
            f"template_roi has {len(boxes)} ROIs for {len(paths)} photos in template_path; give "
            "one for each, separated by ';' "
            "(nothing between two ';' takes the whole photo)."
        )
    result = []
    for path, box in zip(paths, boxes):
        try:
            picture = read_image(Path(path).expanduser(), stretch)
        except SourceError as error:
            raise BadReferenceError(f"template_path cannot be used: {error}") from error
        roi_xyxy = _parse_roi(box, picture) if box else None
        result.append(Reference(picture, roi_xyxy, same_camera))
    return result


def _from_picture(message: TemplateReference, stretch: Optional[Stretch]) -> Optional[Reference]:
    """The reference in the message's own image; None if it has none."""
    image, compressed, roi = message.image, message.compressed_image, message.roi
    has_image = bool(len(image.data) or image.width or image.height)
    has_compressed = bool(len(compressed.data) or compressed.format)
    if has_image and has_compressed:
        raise BadReferenceError("Both image and compressed_image are filled; fill one of them.")
    if has_image:
        picture = to_bgr(image, stretch)
    elif has_compressed:
        picture = to_bgr(compressed, stretch)
    else:
        return None
    return Reference(*_with_roi(picture, roi), same_camera=message.same_camera)


def _places(message: TemplateReference, reference: Reference, newest: CameraMessage) -> List[Place]:
    """Where the object was, if the picture is a whole, recent frame of the camera."""
    if not message.same_camera or reference.roi_xyxy is None:
        return []
    picture = message.image if len(message.image.data) else message.compressed_image
    taken, now = Time.from_msg(picture.header.stamp), Time.from_msg(newest.header.stamp)
    age_s = (now.nanoseconds - taken.nanoseconds) / 1e9
    height, width = reference.image_bgr.shape[:2]
    if not (taken.nanoseconds and 0 <= age_s <= _OLDEST_S and _size(newest) == (width, height)):
        return []
    return [Place(reference.roi_xyxy, age_s)]


def _size(message: CameraMessage) -> Optional[Tuple[int, int]]:
    if isinstance(message, CompressedImage):
        return image_size(bytes(message.data))
    return message.width, message.height


def _from_frame(
    message: TemplateReference, newest: Optional[CameraMessage], stretch: Optional[Stretch]
) -> Reference:
    """The reference that is a ROI in the newest camera frame."""
    if not (message.roi.width and message.roi.height):
        raise BadReferenceError(
            "It has neither an image nor a ROI with a size; fill image or compressed_image, or "
            "give the object's ROI in the newest camera frame."
        )
    if newest is None:
        raise BadReferenceError(
            "It is a ROI in the newest camera frame, but no frame has arrived yet; start the "
            "camera, check that it publishes on the topic this node listens to, or send an image."
        )
    return Reference(*_with_roi(to_bgr(newest, stretch), message.roi), same_camera=True)


def _with_roi(picture: np.ndarray, roi: RegionOfInterest) -> Tuple[np.ndarray, Optional[BoxXYXY]]:
    if not (roi.x_offset or roi.y_offset or roi.width or roi.height):
        return picture, None
    x, y = float(roi.x_offset), float(roi.y_offset)
    return picture, _clipped((x, y, x + roi.width, y + roi.height), picture)


def _parse_roi(text: str, picture: np.ndarray) -> BoxXYXY:
    try:
        roi_xyxy = parse_roi(text)
    except ConfigError as error:
        raise BadReferenceError(
            f"template_roi must be X,Y,W,H in pixels, for example 412,80,36,52: {error}"
        ) from None
    return _clipped(roi_xyxy, picture)


def _clipped(roi_xyxy: BoxXYXY, picture: np.ndarray) -> BoxXYXY:
    height, width = picture.shape[:2]
    return clip_roi(roi_xyxy, (width, height), "The ROI")
