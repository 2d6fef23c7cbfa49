"""A small buffer of timed transforms, for machines without tf2.

It answers as ``tf2_ros.Buffer`` does for a given time: between two stamps it interpolates
(linearly, and by slerp), outside them it refuses. It never answers with the newest.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from refdet_core.errors import RefdetError
from refdet_ros.locate.rotations import inverse, multiply, slerp, to_matrix

CACHE_S = 10.0
_MAX_DEPTH = 1000


class TransformError(RefdetError):
    """There is no transform between two frames at the given time."""


class NotYetError(TransformError):
    """The time is later than the newest transform, which may still arrive."""


@dataclass(frozen=True)
class Transform:
    """Where a frame's origin and axes are in another frame.

    Attributes:
        translation: ``(3,)`` metres.
        rotation: unit quaternion ``(x, y, z, w)``.
    """

    translation: np.ndarray
    rotation: np.ndarray

    def __matmul__(self, other: Transform) -> Transform:
        """``a_from_b @ b_from_c`` is ``a_from_c``."""
        return Transform(
            self.translation + to_matrix(self.rotation) @ other.translation,
            multiply(self.rotation, other.rotation),
        )

    @property
    def inverse(self) -> Transform:
        """The inverse transform."""
        rotation = inverse(self.rotation)
        return Transform(-(to_matrix(rotation) @ self.translation), rotation)


IDENTITY = Transform(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


class _Link:
    """The transforms of one frame in its parent, by time."""

    def __init__(self, parent: str, static: bool) -> None:
        self.parent = parent
        self.static = static
        self.stamps: List[int] = []
        self.transforms: List[Transform] = []

    def add(self, stamp_ns: int, transform: Transform, cache_ns: int) -> None:
        if self.static:
            self.stamps, self.transforms = [stamp_ns], [transform]
            return
        if self.stamps and stamp_ns < self.stamps[-1] - cache_ns:
            return
        place = bisect.bisect_left(self.stamps, stamp_ns)
        if place < len(self.stamps) and self.stamps[place] == stamp_ns:
            self.transforms[place] = transform
            return
        self.stamps.insert(place, stamp_ns)
        self.transforms.insert(place, transform)
        expired = bisect.bisect_left(self.stamps, self.stamps[-1] - cache_ns)
        del self.stamps[:expired], self.transforms[:expired]

    def at(self, stamp_ns: int, child: str) -> Transform:
        if self.static:
            return self.transforms[0]
        place = bisect.bisect_left(self.stamps, stamp_ns)
        if place < len(self.stamps) and self.stamps[place] == stamp_ns:
            return self.transforms[place]
        if place == 0 or place == len(self.stamps):
            newer = place == len(self.stamps)
            bound = self.stamps[-1 if newer else 0]
            raise (NotYetError if newer else TransformError)(
                "The transform from '{}' to '{}' is asked for {:.3f} s {} the {} one.".format(
                    child,
                    self.parent,
                    abs(stamp_ns - bound) / 1e9,
                    "after" if newer else "before",
                    "newest" if newer else "oldest",
                )
            )
        before, after = self.stamps[place - 1], self.stamps[place]
        share = (stamp_ns - before) / (after - before)
        start, end = self.transforms[place - 1], self.transforms[place]
        return Transform(
            (1 - share) * start.translation + share * end.translation,
            slerp(start.rotation, end.rotation, share),
        )


class TransformBuffer:
    """The tree of frames over the last seconds.

    Args:
        cache_s: how long transforms are kept.
    """

    def __init__(self, cache_s: float = CACHE_S) -> None:
        self._cache_ns = round(cache_s * 1e9)
        self._links: Dict[str, _Link] = {}

    def set_transform(
        self, parent: str, child: str, stamp_ns: int, transform: Transform, static: bool = False
    ) -> None:
        """Store where the child frame is in its parent.

        Raises:
            TransformError: the numbers are no transform, or a frame would be its own parent.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child or parent == child:
            raise TransformError(f"A transform from '{child}' to '{parent}' makes no tree.")
        length = float(np.linalg.norm(transform.rotation))
        if not (np.isfinite(transform.translation).all() and abs(length - 1) < 1e-2):
            raise TransformError(
                f"The transform from '{child}' to '{parent}' is not finite or its quaternion has "
                f"the length {length:.3f} instead of 1."
            )
        transform = Transform(transform.translation, transform.rotation / length)
        link = self._links.get(child)
        if link is None or link.parent != parent or link.static != static:
            link = self._links[child] = _Link(parent, static)
        link.add(stamp_ns, transform, self._cache_ns)

    def store(self, message: Any, static: bool, refuse: Callable[[str], None]) -> None:
        """Store a ``TFMessage``; ``refuse`` is told of each transform that cannot be stored."""
        for entry in message.transforms:
            try:
                self.set_transform(
                    entry.header.frame_id,
                    entry.child_frame_id,
                    stamp_of(entry.header.stamp),
                    Transform(*from_message(entry.transform)),
                    static,
                )
            except TransformError as error:
                refuse(f"{error} It is ignored.")

    def can_transform(self, target_frame: str, source_frame: str, stamp_ns: int) -> bool:
        """Whether :meth:`lookup_transform` has an answer."""
        try:
            self.lookup_transform(target_frame, source_frame, stamp_ns)
        except TransformError:
            return False
        return True

    def lookup_transform(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform:
        """Where the source frame is in the target frame at a time.

        Raises:
            NotYetError: the time lies after the newest transform on the way.
            TransformError: it lies before the oldest, or the frames are not connected.
        """
        target_frame, source_frame = target_frame.lstrip("/"), source_frame.lstrip("/")
        if target_frame == source_frame:
            return IDENTITY
        up, down = self._way_up(source_frame), self._way_up(target_frame)
        common = next((frame for frame in up if frame in down), None)
        if common is None:
            self._refuse_unconnected(target_frame, source_frame)
        assert common is not None
        here = self._climb(up[: up.index(common)], stamp_ns)
        there = self._climb(down[: down.index(common)], stamp_ns)
        return there.inverse @ here

    def _way_up(self, frame: str) -> List[str]:
        """The frame and its ancestors."""
        way = [frame]
        while way[-1] in self._links:
            parent = self._links[way[-1]].parent
            if parent in way or len(way) > _MAX_DEPTH:
                raise TransformError(f"The frames form a loop at '{parent}'.")
            way.append(parent)
        return way

    def _climb(self, way: List[str], stamp_ns: int) -> Transform:
        """From the first of these frames into the parent of the last."""
        result = IDENTITY
        for frame in way:
            result = self._links[frame].at(stamp_ns, frame) @ result
        return result

    def _refuse_unconnected(self, target_frame: str, source_frame: str) -> None:
        known = sorted({*self._links, *(link.parent for link in self._links.values())})
        for frame in (target_frame, source_frame):
            if frame not in known:
                raise TransformError(
                    "The frame '{}' does not exist; on /tf and /tf_static are: {}.".format(
                        frame, ", ".join(known) or "none"
                    )
                )
        raise TransformError(f"The frames '{target_frame}' and '{source_frame}' are not connected.")


def stamp_of(message_stamp: object) -> int:
    """A ``builtin_interfaces/Time`` in nanoseconds."""
    return int(message_stamp.sec) * 10**9 + int(message_stamp.nanosec)  # type: ignore[attr-defined]


def from_message(transform: object) -> Tuple[np.ndarray, np.ndarray]:
    """Translation and rotation ``(x, y, z, w)`` of a ``geometry_msgs/Transform``."""
    t, r = transform.translation, transform.rotation  # type: ignore[attr-defined]
    return np.array([t.x, t.y, t.z], float), np.array([r.x, r.y, r.z, r.w], float)
