"""Pairs from real footage: two frames of one instance, or a frame without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY
from refdet_training.augment import Rng
from refdet_training.datasets.instance import FrameRef, Instance
from refdet_training.pairs.close_ups import read_close_up, read_frame
from refdet_training.pairs.config import PairConfig
from refdet_training.pairs.object_frames import DistractorSampler, ObjectFrame, frames_by_object
from refdet_training.pairs.pair import Pair, PairSource
from refdet_training.pairs.views import finish, search_view, template_view

_OTHER_VIDEO_SHARE = 0.5
_ON_OBJECT_SHARE = 0.5  # of the windows in other videos
_TRIES = 8


@dataclass(frozen=True)
class _Scene:
    """The source of a search view: see :func:`refdet_training.pairs.views.search_view`."""

    frame: FrameRef
    subject_xyxy: BoxXYXY
    target_xyxy: BoxXYXY | None
    family: str
    centred: bool = True


class InstancePairs(PairSource):
    """Pairs of the instances of one prepared source; objects are drawn equally often.

    Template views come from other frames than the search view, at most ``max_gap`` frames away (or
    the nearest other frame), in half of the pairs from other videos of the same object if there are
    any; from the same frame only if there is no other.

    Absent pairs show a distractor in ``hard_share`` of the cases: another object of the same frame,
    or one of the same kind from another family. Otherwise they show a part of the frame away from
    the object, a frame in which it is labelled absent, or a frame of another family. If the object
    is still in view, the pair becomes a present one.

    Args:
        instances: of one source.
        box_weight: weight of every pair's box; 0 if the source's boxes are too loose to learn
            extents from.
        pool: source of distractors of the same kind; None: ``instances``.
        video_weights: instead of ``box_weight`` for some videos, by id.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        box_weight: float = 1.0,
        pool: Sequence[Instance] | None = None,
        video_weights: Mapping[str, float] | None = None,
    ) -> None:
        self._instances = list(instances)
        self._box_weight = box_weight
        self._video_weights = dict(video_weights or {})
        self._distractors = DistractorSampler(self._instances if pool is None else pool)
        self._by_floor: dict[float, list[tuple[ObjectFrame, ...]]] = {}

    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        objects = self._objects(config.smallest_px)
        object_frames = objects[rng.integers(len(objects))]
        search = object_frames[rng.integers(len(object_frames))]
        scene = _showing(search)
        if rng.random() < config.absent_share:
            hard = rng.random() < config.hard_share
            other = self._hard(object_frames, rng) if hard else None
            scene = other or self._easy(search, objects, config, rng)
        view = search_view(
            read_frame(scene.frame),
            scene.subject_xyxy,
            scene.target_xyxy,
            config,
            rng,
            scene.centred,
        )
        templates = []
        for object_frame in references(object_frames, search, config, rng):
            frame = object_frame.instance.frames[object_frame.number]
            close_up = read_close_up(frame, object_frame.box_xyxy, config)
            templates.append(template_view(close_up.image_bgr, close_up.box_xyxy, config, rng))
        stack, image, box = finish(templates, view, config, rng)
        return Pair(
            (stack,),
            image,
            box or (0.0, 0.0, 0.0, 0.0),
            box is not None,
            _family(search.instance),
            frozenset([scene.family]),
            self._video_weights.get(search.instance.video_id, self._box_weight)
            if view.tight
            else 0.0,
        )

    def _objects(self, smallest_px: float) -> list[tuple[ObjectFrame, ...]]:
        if smallest_px not in self._by_floor:
            self._by_floor[smallest_px] = frames_by_object(self._instances, smallest_px)
        if not self._by_floor[smallest_px]:
            raise SourceError(
                f"None of {len(self._instances)} instances is visible and at least {smallest_px} "
                "px large; nothing to pair. Lower smallest_px or prepare more data."
            )
        return self._by_floor[smallest_px]

    def _hard(self, object_frames: Sequence[ObjectFrame], rng: Rng) -> _Scene | None:
        """A distractor in place of the object; None if none is known."""
        beside = self._distractors.beside(object_frames, rng)
        alike = self._distractors.of_same_kind(object_frames[0].instance, rng)
        if beside is not None and (alike is None or rng.random() < 0.5):
            own, other = beside
            frame = own.instance.frames[own.number]
            return _Scene(frame, other.box_xyxy, own.box_xyxy, _family(own.instance))
        if alike is not None:
            frame = alike.instance.frames[alike.number]
            return _Scene(frame, alike.box_xyxy, None, _family(alike.instance))
        return None

    def _easy(
        self,
        search: ObjectFrame,
        objects: Sequence[tuple[ObjectFrame, ...]],
        config: PairConfig,
        rng: Rng,
    ) -> _Scene:
        """A place without the object."""
        instance, box = search.instance, search.box_xyxy
        family = _family(instance)
        scenes = [_Scene(instance.frames[search.number], box, box, family, centred=False)]
        missing = [number for number in instance.frames if number not in instance.boxes_xyxy]
        if missing:  # around its last or next seen place
            number = missing[rng.integers(len(missing))]
            near = min(instance.present, key=lambda other: abs(other - number))
            place = instance.boxes_xyxy[near]
            scenes.append(_Scene(instance.frames[number], place, None, family))
        for _ in range(_TRIES):
            others = objects[int(rng.integers(len(objects)))]
            other = others[rng.integers(len(others))]
            if _family(other.instance) != family:
                frame = other.instance.frames[other.number]
                # A tracker's window lies on something; elsewhere most windows show bare ground.
                centred = config.window is not None and rng.random() < _ON_OBJECT_SHARE
                scenes.append(_Scene(frame, other.box_xyxy, None, _family(other.instance), centred))
                break
        return scenes[rng.integers(len(scenes))]


def references(
    object_frames: Sequence[ObjectFrame], search: ObjectFrame, config: PairConfig, rng: Rng
) -> list[ObjectFrame]:
    """The object frames of the template views, as many as the configuration's draw says."""
    elsewhere = [item for item in object_frames if item.instance is not search.instance]
    others = [
        item
        for item in object_frames
        if item.instance is search.instance and item.number != search.number
    ]
    near = [
        item
        for item in others
        if config.max_gap is None or abs(item.number - search.number) <= config.max_gap
    ]
    if not near and others:
        near = [min(others, key=lambda item: abs(item.number - search.number))]
    candidates = near or elsewhere or [search]
    if elsewhere and rng.random() < _OTHER_VIDEO_SHARE:
        candidates = elsewhere
    fewest, most = config.references
    count = int(rng.integers(fewest, most + 1))
    chosen = rng.choice(len(candidates), size=count, replace=count > len(candidates))
    return [candidates[index] for index in chosen]


def _showing(search: ObjectFrame) -> _Scene:
    box = search.box_xyxy
    return _Scene(search.instance.frames[search.number], box, box, _family(search.instance))


def _family(instance: Instance) -> str:
    return f"{instance.source}:{instance.family}"
