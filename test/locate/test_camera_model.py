"""Rays of pixels: the inverse of OpenCV's projection, for every lens model and crop."""

from types import SimpleNamespace

import numpy as np
import pytest

from refdet_ros.locate.camera_model import CameraModel, CameraModelError

K = (500.0, 0.0, 320.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0)
PLUMB_BOB = (-0.28, 0.07, 0.001, -0.0005, 0.0)
RATIONAL = (-0.2, 0.05, 0.0008, 0.0003, 0.001, 0.02, -0.01, 0.0005)
FISHEYE = (-0.02, 0.004, -0.001, 0.0002)


def camera_info(model="plumb_bob", d=PLUMB_BOB, k=K, binning=(0, 0), offset=(0, 0)):
    p = (480.0, 0.0, 318.0, 0.0, 0.0, 490.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return SimpleNamespace(
        header=SimpleNamespace(frame_id="camera"),
        k=k,
        d=d,
        p=p,
        distortion_model=model,
        binning_x=binning[0],
        binning_y=binning[1],
        roi=SimpleNamespace(x_offset=offset[0], y_offset=offset[1]),
    )


PIXELS = np.array([[x, y] for x in (5.0, 320.5, 634.0) for y in (5.0, 239.5, 474.0)])


@pytest.mark.parametrize(
    "model, d",
    [
        ("plumb_bob", PLUMB_BOB),
        ("rational_polynomial", RATIONAL),
        ("equidistant", FISHEYE),
        ("plumb_bob", ()),
        ("", (0.0,) * 5),
        ("none of ours", (0.0,) * 3),
    ],
)
def test_rays_project_to_their_pixels(model, d):
    camera = CameraModel.from_camera_info(camera_info(model, d))
    rays = camera.rays(PIXELS)
    assert np.linalg.norm(rays, axis=1) == pytest.approx(1)
    assert (rays[:, 2] > 0).all()
    assert np.abs(camera.project(rays) - PIXELS).max() < 0.01


def test_the_principal_point_looks_straight_ahead():
    camera = CameraModel.from_camera_info(camera_info())
    assert camera.rays(np.array([[320.5, 239.5]]))[0] == pytest.approx([0, 0, 1], abs=1e-9)
    right, down = camera.rays(np.array([[420.5, 239.5], [320.5, 339.5]]))
    assert right[0] > 0.1 and abs(right[1]) < 1e-3
    assert down[1] > 0.1 and abs(down[0]) < 1e-3


def test_binning_and_offset_are_of_the_same_sensor():
    whole = CameraModel.from_camera_info(camera_info())
    half = CameraModel.from_camera_info(camera_info(binning=(2, 2), offset=(100, 60)))
    # The middle of sensor pixels 200 and 201 is the centre of image pixel 50 with offset 100.
    assert half.rays(np.array([[50.0, 40.0]])) == pytest.approx(
        whole.rays(np.array([[200.5, 140.5]]))
    )
    assert half.project(half.rays(PIXELS / 4)) == pytest.approx(PIXELS / 4, abs=0.01)


def test_a_rectified_image_has_its_own_matrix_and_no_distortion():
    camera = CameraModel.from_camera_info(camera_info(), rectified=True)
    ray = camera.rays(np.array([[318.0 + 480.0, 241.0]]))[0]
    assert ray == pytest.approx(np.array([1, 0, 1]) / np.sqrt(2))


def test_slope_is_the_change_of_the_ray():
    camera = CameraModel.from_camera_info(camera_info())
    ray, slope = camera.ray_and_slope(np.array([500.0, 100.0]))
    other = camera.rays(np.array([[501.0, 98.0]]))[0]
    assert ray + slope @ [1.0, -2.0] == pytest.approx(other, abs=2e-5)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"k": (0.0,) * 9}, "not calibrated"),
        ({"k": (float("nan"),) * 9}, "not calibrated"),
        ({"model": "scaramuzza"}, "scaramuzza.*plumb_bob"),
        ({"d": (0.1, 0.2, 0.3)}, "has 3"),
        ({"model": "equidistant"}, "takes 4.*has 5"),
        ({"d": (float("inf"), 0.0, 0.0, 0.0, 0.0)}, "finite"),
    ],
)
def test_unusable_calibrations_are_named(fields, words):
    with pytest.raises(CameraModelError, match=words):
        CameraModel.from_camera_info(camera_info(**fields))


def test_pixels_where_the_lens_model_folds_over_have_no_ray():
    # r (1 - 0.5 r^2) never reaches 0.6, so no ray lands this far from the centre.
    camera = CameraModel.from_camera_info(camera_info(d=(-0.5, 0.0, 0.0, 0.0, 0.0)))
    assert camera.rays(np.array([[400.0, 239.5]])).shape == (1, 3)
    with pytest.raises(CameraModelError, match="cannot be undone"):
        camera.rays(np.array([[320.5 + 0.6 * 500, 239.5]]))
