"""The camera's calibration at the time of a frame; a zoom lens changes it in flight."""

from __future__ import annotations

import bisect
from typing import Any, List, Optional, Tuple

from refdet_ros.locate.camera_model import CameraModel, CameraModelError
from refdet_ros.locate.transforms import stamp_of

_KEPT = 200


class CameraHistory:
    """Camera models by time, from CameraInfo messages; equal ones are kept once.

    Args:
        rectified: the images are rectified.
    """

    def __init__(self, rectified: bool) -> None:
        self._rectified = rectified
        self._stamps: List[int] = []
        self._cameras: List[Optional[CameraModel]] = []
        self._fields: Optional[Tuple[Any, ...]] = None
        self._problem = ""

    def add(self, message: Any) -> None:
        """Take a ``sensor_msgs/CameraInfo``; an unusable one is remembered with its reason."""
        fields = _fields_of(message)
        if fields == self._fields:
            return
        self._fields = fields
        camera = None
        try:
            camera = CameraModel.from_camera_info(message, self._rectified)
            self._problem = ""
        except CameraModelError as error:
            self._problem = str(error)
        stamp_ns = stamp_of(message.header.stamp)
        if self._stamps and stamp_ns < self._stamps[-1]:
            # Time went back: a simulation or a bag was started anew.
            self._stamps.clear()
            self._cameras.clear()
        self._stamps.append(stamp_ns)
        self._cameras.append(camera)
        del self._stamps[:-_KEPT], self._cameras[:-_KEPT]

    def at(self, stamp_ns: int) -> CameraModel:
        """The camera when a frame was taken; for earlier frames, that of the first message.

        Raises:
            CameraModelError: no usable CameraInfo has come.
        """
        if not self._stamps:
            raise CameraModelError("no CameraInfo has come")
        camera = self._cameras[max(0, bisect.bisect_right(self._stamps, stamp_ns) - 1)]
        if camera is None:
            raise CameraModelError(self._problem or "the CameraInfo cannot be used")
        return camera


def _fields_of(message: Any) -> Tuple[Any, ...]:
    roi = message.roi
    return (
        *(tuple(message.k), tuple(message.d), tuple(message.p), message.distortion_model),
        *(message.binning_x, message.binning_y, roi.x_offset, roi.y_offset),
    )
