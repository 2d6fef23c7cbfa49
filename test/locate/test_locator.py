"""Positions against a simulated camera with known truth: a thousand poses, and their covariance."""

import numpy as np
import pytest

from refdet_ros.locate.camera_model import CameraModel
from refdet_ros.locate.ground import Ground, Limits
from refdet_ros.locate.locator import locate_box
from refdet_ros.locate.rotations import from_matrix, random_small, to_matrix
from refdet_ros.locate.transforms import Transform
from refdet_ros.locate.uncertainty import Sigmas

CAMERA = CameraModel(
    np.array([[900.0, 0, 645.0], [0, 905.0, 355.0], [0, 0, 1]]),
    np.array([-0.25, 0.08, 0.0008, -0.0005, -0.01]),
)
SIZE = (1280, 720)
GROUND = Ground(height=3.0, limits=Limits(min_depression_deg=2.0, max_distance_m=5000.0))
SIGMAS = Sigmas(
    pixel_px=1.0,
    box_share=0.1,
    tilt_deg=0.5,
    heading_deg=1.0,
    camera_m=1.0,
    height_m=0.7,
    ground_m=0.5,
)
# Forward, left, up of a vehicle as right, down, forward of its camera.
BODY_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
CHI2_2D_95 = 5.991


def attitude(yaw, pitch, roll):
    """Of a camera, degrees: yaw left of east, pitch down, roll clockwise."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x @ BODY_FROM_OPTICAL


def pose(position, axes):
    return Transform(np.asarray(position, float), from_matrix(axes))


def box_around(pixel, width=40.0, height=24.0):
    """A box whose middle pixel centre is there."""
    x, y = np.asarray(pixel) + 0.5
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def random_scenes(count, seed, depression=(15, 90)):
    """True poses of which a true point on the ground is seen: ``(position, axes, point)``."""
    random = np.random.default_rng(seed)
    scenes = []
    while len(scenes) < count:
        axes = attitude(
            random.uniform(-180, 180), random.uniform(*depression), random.uniform(-20, 20)
        )
        position = np.array([*random.uniform(-500, 500, 2), random.uniform(20, 150)])
        ray = axes @ CAMERA.rays(random.uniform((20, 20), (1260, 700))[None])[0]
        if ray[2] > -np.sin(np.radians(8)):
            continue
        distance = (GROUND.height - position[2]) / ray[2]
        scenes.append((position, axes, position + distance * ray))
    return scenes


def test_a_thousand_poses_are_exact():
    worst_px, worst_m = 0.0, 0.0
    for position, axes, truth in random_scenes(1000, seed=1):
        pixel = CAMERA.project((axes.T @ (truth - position))[None])[0]
        found = locate_box(box_around(pixel), CAMERA, pose(position, axes), GROUND, SIGMAS)
        assert found.position is not None, found.problem
        point = found.position.point
        again = CAMERA.project((axes.T @ (point - position))[None])[0]
        worst_px = max(worst_px, float(np.linalg.norm(again - pixel)))
        worst_m = max(worst_m, float(np.linalg.norm(point - truth)))
        assert found.bearing_camera @ found.bearing_camera == pytest.approx(1)
        assert found.bearing == pytest.approx(axes @ found.bearing_camera)
        assert found.position.distance == pytest.approx(np.linalg.norm(point - position))
    assert worst_px < 0.5 and worst_px < 0.02
    assert worst_m < 0.05


def test_the_covariance_covers_what_it_says():
    """Errors drawn from the deviations given: 95 of 100 positions lie in the 95 % ellipse."""
    random = np.random.default_rng(7)
    inside, distances = 0, []
    scenes = random_scenes(1000, seed=2)
    for position, axes, truth in scenes:
        # The object stands on ground that is not quite where it is thought to be.
        truth = truth.copy()
        ray = (truth - position) / np.linalg.norm(truth - position)
        lift = random.normal() * SIGMAS.ground_m
        truth += ray * lift / ray[2]
        pixel = CAMERA.project((axes.T @ (truth - position))[None])[0]
        width, height = 40.0, 24.0
        pixel = pixel + random.normal(size=2) * SIGMAS.pixel((width, height))
        thought = pose(
            position + random.normal(size=3) * SIGMAS.camera,
            random_small(SIGMAS.rotation_rad, random) @ axes,
        )
        found = locate_box(box_around(pixel, width, height), CAMERA, thought, GROUND, SIGMAS)
        assert found.position is not None, found.problem
        error = (found.position.point - truth)[:2]
        covariance = found.position.covariance[:2, :2]
        distances.append(float(error @ np.linalg.solve(covariance, error)))
    inside = np.mean(np.array(distances) <= CHI2_2D_95)
    assert 0.93 <= inside <= 0.97
    # Not only the tail: the mean of a chi-square with two degrees of freedom is 2.
    assert np.mean(distances) == pytest.approx(2.0, abs=0.25)


def test_parts_of_the_covariance():
    position, axes, _ = random_scenes(1, seed=3, depression=(40, 50))[0]
    box = box_around((700, 400))
    quiet = dict.fromkeys(SIGMAS.__dataclass_fields__, 0.0)
    found = {}
    for name in quiet:
        sigmas = Sigmas(**{**quiet, name: 1.0})
        found[name] = locate_box(box, CAMERA, pose(position, axes), GROUND, sigmas).position
    for name in ("pixel_px", "box_share"):
        assert np.trace(found[name].jitter) > 0 and not found[name].bias.any()
    for name in ("tilt_deg", "heading_deg", "camera_m", "height_m", "ground_m"):
        assert np.trace(found[name].bias) > 0 and not found[name].jitter.any()
    # A flat ground is level whatever the camera does; only its own height is unsure.
    for name in quiet:
        assert found[name].covariance[2, 2] == pytest.approx(1.0 if name == "ground_m" else 0.0)
    # Turned about the vertical, a point on a circle around the camera stays on it.
    outwards = (found["heading_deg"].point - position)[:2]
    assert outwards @ found["heading_deg"].covariance[:2, :2] @ outwards == pytest.approx(0)


def test_straight_down_north_and_the_middle_of_a_tall_target():
    down = pose((10, 20, 53), attitude(0, 90, 0))
    box = box_around((645, 355))
    found = locate_box(box, CAMERA, down, GROUND, SIGMAS)
    assert found.position.point == pytest.approx([10, 20, 3], abs=1e-6)
    assert found.elevation_deg == pytest.approx(-90)
    north = locate_box(box, CAMERA, pose((0, 0, 53), attitude(90, 30, 0)), GROUND, SIGMAS)
    assert north.azimuth_deg % 360 == pytest.approx(0, abs=1e-6)
    assert north.elevation_deg == pytest.approx(-30)
    tall = Ground(3.0, GROUND.limits, target_height=10.0)
    middle = locate_box(box, CAMERA, pose((0, 0, 53), attitude(90, 30, 0)), tall, SIGMAS)
    assert middle.position.point[2] == pytest.approx(8)
    assert middle.position.point[1] == pytest.approx(45 / np.tan(np.radians(30)))


@pytest.mark.parametrize(
    "position, pitch, words",
    [
        ((0, 0, 50), -5, "above the horizon by 5.0"),
        ((0, 0, 50), 1, "1.0 degrees below the horizon.*min_depression_deg"),
        ((0, 0, 500), 3, "max_distance_m"),
        ((0, 0, 2), 45, "1.0 m below the ground"),
    ],
)
def test_no_position_has_a_reason_and_keeps_the_bearing(position, pitch, words):
    found = locate_box(
        box_around((645, 355)), CAMERA, pose(position, attitude(30, pitch, 0)), GROUND, SIGMAS
    )
    assert found.position is None
    assert found.bearing is not None and found.bearing_camera is not None
    import re

    assert re.search(words, found.problem), found.problem


def test_without_a_pose_there_is_a_bearing_in_the_camera():
    found = locate_box(box_around((645, 355)), CAMERA, None, GROUND, SIGMAS)
    assert found.bearing_camera == pytest.approx([0, 0, 1], abs=1e-9)
    assert found.bearing is None and found.position is None


def hill(places):
    """A hill of 30 m at (100, 0), unknown ground west of -500."""
    heights = 30 * np.exp(-((places[:, 0] - 100) ** 2 + places[:, 1] ** 2) / 2 / 40**2)
    return np.where(places[:, 0] < -500, np.nan, heights)


def test_a_surface_is_met_where_it_is_first_seen():
    ground = Ground(0.0, Limits(2.0, 2000.0), surface=hill)
    east = pose((0, 0, 40), attitude(0, 15, 0))
    found = locate_box(box_around((645, 355)), CAMERA, east, ground, SIGMAS)
    point = found.position.point
    assert point[2] == pytest.approx(hill(point[None, :2])[0], abs=1e-3)
    assert point[0] < 100  # the near slope, not the plain behind: 149 m
    # The slope faces the camera, so height matters less than on a plain.
    plain = locate_box(
        box_around((645, 355)), CAMERA, east, Ground(point[2], GROUND.limits), SIGMAS
    )
    assert plain.position.point == pytest.approx(point, abs=1e-2)
    assert found.position.covariance[0, 0] < plain.position.covariance[0, 0]


@pytest.mark.parametrize(
    "position, yaw, pitch, words",
    [
        ((0, 0, 40), 180, 4, "leaves the elevation model"),
        ((-600, 0, 40), 0, 45, "outside the elevation model"),
        ((100, 0, 20), 0, 45, "below the elevation model"),
        ((0, 0, 400), 0, 5, "no ground within"),
    ],
)
def test_a_surface_that_is_not_met(position, yaw, pitch, words):
    ground = Ground(0.0, Limits(2.0, 2000.0), surface=hill)
    found = locate_box(
        box_around((645, 355)), CAMERA, pose(position, attitude(yaw, pitch, 0)), ground, SIGMAS
    )
    assert found.position is None and words in found.problem


def test_attitudes_of_this_file_are_rotations():
    axes = attitude(10, 20, 30)
    assert to_matrix(from_matrix(axes)) == pytest.approx(axes)
