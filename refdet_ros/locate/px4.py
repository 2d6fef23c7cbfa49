"""PX4's axes (north, east, down; forward, right, down) as ROS's (REP-103)."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from refdet_ros.locate.rotations import from_matrix, to_matrix
from refdet_ros.locate.transforms import Transform

_ENU_FROM_NED = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
_FRD_FROM_FLU = np.diag([1.0, -1.0, -1.0])


def transform_from_px4(position_ned: Sequence[float], q_wxyz: Sequence[float]) -> Transform:
    """The pose of a body (forward, left, up) in east, north, up.

    Args:
        position_ned: metres.
        q_wxyz: from the body (forward, right, down) to north, east, down, as in
            ``px4_msgs/VehicleOdometry``: w first.
    """
    w, x, y, z = (float(value) for value in q_wxyz)
    axes = _ENU_FROM_NED @ to_matrix(np.array([x, y, z, w])) @ _FRD_FROM_FLU
    return Transform(_ENU_FROM_NED @ np.asarray(position_ned, dtype=float), from_matrix(axes))
