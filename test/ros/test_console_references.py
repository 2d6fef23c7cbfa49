"""What a browser drew, as the references that the detector gets."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from refdet_core.errors import BadReferenceError
from refdet_ros.console.frames import Frame
from refdet_ros.console.options import Limits
from refdet_ros.console.references import references_from
from refdet_ros.console.uploads import Uploads
from refdet_ros.conversions import to_compressed

PICTURE = np.full((48, 64, 3), 90, np.uint8)
DRAWN = [{"held": True, "box": [10.4, 20.4, 200, 8]}]


@pytest.fixture(params=["raw", "compressed"])
def held(request, tools):
    """A frame as it came from the camera."""
    if request.param == "compressed":
        message = to_compressed(PICTURE, "bgr8", Header())
        return Frame(serialize_message(message), 0, compressed=True)
    return Frame(serialize_message(tools.image(PICTURE)), 0, compressed=False)


@pytest.fixture
def uploads():
    return Uploads(Limits())


@pytest.mark.parametrize("same_camera", [True, False], ids=["live", "from a bag"])
def test_a_box_in_the_live_picture_says_that_it_is_of_this_camera(held, uploads, same_camera):
    (reference,), used = references_from(DRAWN, held, uploads, same_camera)
    assert reference.same_camera == same_camera
    assert bool(len(reference.compressed_image.data)) == held.compressed
    roi = reference.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (10, 20, 54, 8)
    assert not used


def test_a_photo_is_of_another_camera(uploads):
    photo = uploads.add(cv2.imencode(".jpg", PICTURE)[1].tobytes())["picture"]
    (reference,), used = references_from([{"picture": photo}], None, uploads, True)
    assert not reference.same_camera and reference.roi.width == 0
    assert used == [photo]


def test_a_frame_that_is_not_held_any_more_is_refused(uploads):
    with pytest.raises(BadReferenceError, match="not held"):
        references_from(DRAWN, None, uploads, True)
