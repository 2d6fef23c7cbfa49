"""PX4's axes as ROS's."""

import numpy as np
import pytest

from refdet_ros.locate.px4 import transform_from_px4
from refdet_ros.locate.rotations import to_matrix

HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    "q_wxyz, forward, left",
    [
        ((1, 0, 0, 0), (0, 1, 0), (-1, 0, 0)),  # nose north: forward is north, left is west
        ((HALF, 0, 0, HALF), (1, 0, 0), (0, 1, 0)),  # turned right by 90 degrees: east
        ((HALF, 0, HALF, 0), (0, 0, 1), (-1, 0, 0)),  # pitched up by 90 degrees
        ((HALF, HALF, 0, 0), (0, 1, 0), (0, 0, 1)),  # rolled right: the left wing points up
    ],
)
def test_axes(q_wxyz, forward, left):
    axes = to_matrix(transform_from_px4((0, 0, 0), q_wxyz).rotation)
    assert axes[:, 0] == pytest.approx(forward, abs=1e-9)
    assert axes[:, 1] == pytest.approx(left, abs=1e-9)


def test_position():
    found = transform_from_px4((1, 2, -30), (1, 0, 0, 0))
    assert found.translation == pytest.approx((2, 1, 30))


def test_the_static_transforms_of_the_manual_look_ahead_and_down():
    """roll -90, yaw -90: the optical axes of a camera in forward, left, up."""
    cr = cy = 0.0
    sr = sy = -1.0
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    optical = about_z @ about_x
    assert optical @ [0, 0, 1] == pytest.approx([1, 0, 0])
    assert optical @ [1, 0, 0] == pytest.approx([0, -1, 0])
    assert optical @ [0, 1, 0] == pytest.approx([0, 0, -1])
