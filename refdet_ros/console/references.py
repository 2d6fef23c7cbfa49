"""References for ``set_template`` from the boxes that a browser drew."""

from __future__ import annotations

import array
from typing import Any, List, Optional, Sequence, Tuple

from refdet_msgs.msg import TemplateReference
from sensor_msgs.msg import CompressedImage, RegionOfInterest

from refdet_core.errors import BadReferenceError
from refdet_core.image_header import image_size
from refdet_ros.console.frames import Frame
from refdet_ros.console.uploads import Uploads

MAX_REFERENCES = 5


def references_from(
    items: Any, held: Optional[Frame], uploads: Uploads, same_camera: bool
) -> Tuple[List[TemplateReference], List[str]]:
    """The references of a command, and the uploads they used.

    Args:
        items: each with ``held`` or ``picture`` (an upload's id), and a ``box`` x, y, width,
            height in that picture's pixels; a photo without one is the object as a whole.
        held: the frame that the browser holds.
        same_camera: whether that frame came from the detector's camera, and not from a bag.

    Raises:
        BadReferenceError: with a sentence for the operator.
    """
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_REFERENCES:
        raise BadReferenceError(f"A target takes 1 to {MAX_REFERENCES} pictures.")
    references, used = [], []
    for item in items:
        if not isinstance(item, dict):
            raise BadReferenceError("A reference needs a picture and a box.")
        if item.get("held"):
            if held is None:
                raise BadReferenceError("The frame is not held any more; draw the box again.")
            references.append(_of_frame(held, item.get("box"), same_camera))
        else:
            name = str(item.get("picture", ""))
            upload = uploads.get(name)
            used.append(name)
            message = CompressedImage(format=upload.format, data=array.array("B", upload.content))
            region = _region(item.get("box"), upload.size)
            references.append(TemplateReference(compressed_image=message, roi=region))
    return references, used


def _of_frame(frame: Frame, box: Any, same_camera: bool) -> TemplateReference:
    message = frame.message()
    if box is None:
        raise BadReferenceError("Draw a box around the object.")
    if frame.compressed:
        size = image_size(bytes(message.data))
        if size is None:
            height, width = frame.bgr().shape[:2]
            size = (width, height)
        region = _region(box, size)
        return TemplateReference(compressed_image=message, roi=region, same_camera=same_camera)
    region = _region(box, (message.width, message.height))
    return TemplateReference(image=message, roi=region, same_camera=same_camera)


def _region(box: Any, size: Tuple[int, int]) -> RegionOfInterest:
    """The box in whole pixels, clipped to the picture."""
    if box is None:
        return RegionOfInterest()
    x, y, width, height = _numbers(box)
    x1, y1 = max(0, round(x)), max(0, round(y))
    x2, y2 = min(size[0], round(x + width)), min(size[1], round(y + height))
    if x2 <= x1 or y2 <= y1:
        raise BadReferenceError("The box has no size, or lies outside the picture.")
    return RegionOfInterest(x_offset=x1, y_offset=y1, width=x2 - x1, height=y2 - y1)


def _numbers(box: Any) -> Sequence[float]:
    if not isinstance(box, list) or len(box) != 4:
        raise BadReferenceError("A box is four numbers: x, y, width, height.")
    for value in box:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e6:
            raise BadReferenceError("A box is four numbers: x, y, width, height.")
    return box
