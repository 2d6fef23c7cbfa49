"""The transform buffer: chains, interpolation, refusals; parity with tf2 where it is there."""

import numpy as np
import pytest

from refdet_ros.locate.rotations import from_matrix, multiply, slerp, to_matrix
from refdet_ros.locate.transforms import (
    NotYetError,
    Transform,
    TransformBuffer,
    TransformError,
)

S = 10**9


def turn(degrees, axis=2):
    quaternion = np.zeros(4)
    quaternion[axis], quaternion[3] = (
        np.sin(np.radians(degrees) / 2),
        np.cos(np.radians(degrees) / 2),
    )
    return quaternion


def at(x=0.0, y=0.0, z=0.0, rotation=None):
    return Transform(np.array([x, y, z]), turn(0) if rotation is None else rotation)


@pytest.fixture
def buffer():
    """A drone that flies east and turns left, with a camera that looks down."""
    buffer = TransformBuffer()
    buffer.set_transform("map", "odom", 0, at(100, 0), static=True)
    buffer.set_transform("base", "camera", 0, at(0.5, rotation=turn(180, axis=0)), static=True)
    for second in range(5):
        buffer.set_transform(
            "odom", "base", second * S, at(10 * second, z=50, rotation=turn(30 * second))
        )
    return buffer


def test_between_two_stamps_it_interpolates(buffer):
    found = buffer.lookup_transform("odom", "base", S // 2)
    assert found.translation == pytest.approx([5, 0, 50])
    assert found.rotation == pytest.approx(turn(15))


def test_chains_go_up_and_down(buffer):
    found = buffer.lookup_transform("map", "camera", 3 * S)
    assert found.translation == pytest.approx([130, 0.5, 50])
    back = buffer.lookup_transform("camera", "map", 3 * S)
    both = found @ back
    assert both.translation == pytest.approx(np.zeros(3), abs=1e-9)
    assert abs(both.rotation[3]) == pytest.approx(1)
    assert buffer.lookup_transform("map", "map", 99 * S).translation == pytest.approx([0, 0, 0])
    assert buffer.lookup_transform("/map", "/odom", 99 * S).translation[0] == 100


def test_never_the_newest(buffer):
    assert buffer.can_transform("map", "camera", 4 * S)
    assert not buffer.can_transform("map", "camera", 4 * S + 1)
    with pytest.raises(NotYetError, match="after the newest"):
        buffer.lookup_transform("map", "camera", 5 * S)
    with pytest.raises(TransformError, match="before the oldest") as caught:
        buffer.lookup_transform("map", "camera", -1)
    assert not isinstance(caught.value, NotYetError)


@pytest.mark.parametrize(
    "frames, words",
    [(("map", "lidar"), "'lidar' does not exist.*camera"), (("map", "island"), "not connected")],
)
def test_what_is_missing_is_named(buffer, frames, words):
    buffer.set_transform("sea", "island", 0, at(), static=True)
    with pytest.raises(TransformError, match=words):
        buffer.lookup_transform(*frames, S)


def test_an_empty_buffer_says_so():
    with pytest.raises(TransformError, match="none"):
        TransformBuffer().lookup_transform("map", "camera", S)


def test_hostile_transforms_are_refused_or_survived(buffer):
    for rotation in ([0, 0, 0, 0], [0, 0, 0, 2], [np.nan, 0, 0, 1]):
        with pytest.raises(TransformError, match="quaternion"):
            buffer.set_transform("a", "b", 0, Transform(np.zeros(3), np.array(rotation, float)))
    for parent, child in (("a", "a"), ("", "a"), ("a", "/")):
        with pytest.raises(TransformError, match="no tree"):
            buffer.set_transform(parent, child, 0, at())
    buffer.set_transform("x", "y", 0, at(), static=True)
    buffer.set_transform("y", "x", 0, at(), static=True)
    with pytest.raises(TransformError, match="loop"):
        buffer.lookup_transform("map", "x", 0)


def test_out_of_order_and_doubled_stamps(buffer):
    buffer.set_transform("odom", "base", S // 2, at(500, z=50))
    assert buffer.lookup_transform("odom", "base", S // 2).translation[0] == 500
    buffer.set_transform("odom", "base", S // 2, at(7, z=50))
    assert buffer.lookup_transform("odom", "base", S // 2).translation[0] == 7


def test_old_transforms_are_forgotten():
    buffer = TransformBuffer(cache_s=2)
    for second in range(10):
        buffer.set_transform("a", "b", second * S, at(second))
    buffer.set_transform("a", "b", 0, at(77))  # too late to matter
    assert buffer.can_transform("a", "b", 7 * S)
    assert not buffer.can_transform("a", "b", 6 * S)


def test_a_frame_may_get_another_parent(buffer):
    buffer.set_transform("map", "base", 9 * S, at(1))
    assert buffer.lookup_transform("map", "base", 9 * S).translation == pytest.approx([1, 0, 0])


def test_rotations_agree_with_each_other():
    random = np.random.default_rng(3)
    for _ in range(200):
        one, two = (value / np.linalg.norm(value) for value in random.normal(size=(2, 4)))
        matrix = to_matrix(one)
        assert matrix @ matrix.T == pytest.approx(np.eye(3))
        assert np.linalg.det(matrix) == pytest.approx(1)
        assert to_matrix(from_matrix(matrix)) == pytest.approx(matrix)
        assert to_matrix(multiply(one, two)) == pytest.approx(matrix @ to_matrix(two))
        half = slerp(one, two, 0.5)
        assert abs(half @ one) == pytest.approx(abs(half @ two))


def random_tree(random):
    """Frames with dynamic and static links: ``(parent, child, stamp_ns, transform, static)``."""
    entries = []
    for number in range(1, 8):
        parent, static = f"f{random.integers(number)}", bool(random.integers(2))
        for step in range(1 if static else 6):
            rotation = random.normal(size=4)
            entries.append(
                (
                    parent,
                    f"f{number}",
                    (10 + step) * S,
                    Transform(random.normal(size=3) * 20, rotation / np.linalg.norm(rotation)),
                    static,
                )
            )
    return entries


def test_parity_with_tf2():
    """The same answers, and refusals, as the real buffer."""
    tf2_ros = pytest.importorskip("tf2_ros", reason="needs a native ROS 2 with tf2_ros")
    from geometry_msgs.msg import TransformStamped
    from rclpy.time import Time

    random = np.random.default_rng(11)
    for _ in range(20):
        ours, theirs = TransformBuffer(), tf2_ros.Buffer()
        for parent, child, stamp_ns, transform, static in random_tree(random):
            ours.set_transform(parent, child, stamp_ns, transform, static)
            message = TransformStamped(child_frame_id=child)
            message.header.frame_id = parent
            message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
            t, r = message.transform.translation, message.transform.rotation
            t.x, t.y, t.z = map(float, transform.translation)
            r.x, r.y, r.z, r.w = map(float, transform.rotation)
            (theirs.set_transform_static if static else theirs.set_transform)(message, "test")
        for _ in range(50):
            target, source = (f"f{number}" for number in random.integers(8, size=2))
            stamp_ns = int(random.integers(9 * S, 17 * S))
            time = Time(nanoseconds=stamp_ns)
            possible = theirs.can_transform(target, source, time)
            assert ours.can_transform(target, source, stamp_ns) == possible
            if possible:
                answer = theirs.lookup_transform(target, source, time).transform
                t, r = answer.translation, answer.rotation
                found = ours.lookup_transform(target, source, stamp_ns)
                assert found.translation == pytest.approx([t.x, t.y, t.z], abs=1e-6)
                expected = to_matrix(np.array([r.x, r.y, r.z, r.w]))
                assert to_matrix(found.rotation) == pytest.approx(expected, abs=1e-6)
