"""A second look at the best candidates of a full-frame search.

A search network is trained to tell the object from everything else in a frame; a tracking network,
with far more objects, to draw a tight box around it. So the tracking network looks into the window
around each of the best candidates, and its box replaces theirs. What is in that box is then
compared with the references once more, as closely as a frame allows: by the features that other
networks make of templates, and by colour, which tells look-alikes apart. All of this
counts, see :class:`~refdet_core.refinement_rule.RefinementRule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np

from refdet_core.boxes import area, as_boxes, as_tuple, centred_in, clip
from refdet_core.colours import object_colours, overlap
from refdet_core.decoding import Candidates
from refdet_core.refinement_rule import evidence
from refdet_core.search.base import Refiner, SearchFrame
from refdet_core.search.window import search_windows
from refdet_core.types import BoxXYXY

_LEAST_PROBABILITY = 0.02  # less probable candidates are not looked at again


def refined(
    candidates: Candidates,
    refiner: Refiner,
    template_id: str,
    count: int,
    views: Sequence[View] = (),
) -> Candidates:
    """The candidates, of which the ``count`` best were looked at again; best first.

    Args:
        views: how the object looked in earlier frames, as further references.
    """
    worth = np.flatnonzero(candidates.scores >= _LEAST_PROBABILITY)[:count]
    if not len(worth):
        return candidates
    seen = second_look(refiner, candidates.boxes_xyxy[worth], template_id, views)
    boxes_xyxy, scores = candidates.boxes_xyxy.copy(), candidates.scores.copy()
    boxes_xyxy[worth] = seen.boxes_xyxy
    scores[worth] = refiner.rule(
        scores[worth], seen.scores, seen.cosines, seen.overlaps, seen.relative_cosines
    )
    order = np.argsort(-scores, kind="stable")
    return Candidates(boxes_xyxy, scores, candidates.presence).chosen(order)


@dataclass(frozen=True)
class SecondLook:
    """What the second look finds in some boxes.

    Attributes:
        boxes_xyxy: the object's box by the tracking network, clipped to the frame, ``(N, 4)``; the
            given box where it sees nothing.
        scores: probability by the tracking network, ``(N,)``; 0 where it sees nothing.
        cosines: between the features of what is in the box and of the most similar reference,
            ``(N,)``; 0 where no network compares them.
        overlaps: of the colours in the box and of the most similar reference, ``(N,)``; None if no
            reference is of this camera.
        relative_cosines: with the references, in relation to a cohort's, ``(N,)``; None without
            one, see :class:`~refdet_core.cohort.Cohort`.
        features: of what is in the boxes, ``(N, C)``.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    cosines: np.ndarray
    overlaps: Optional[np.ndarray]
    relative_cosines: Optional[np.ndarray]
    features: np.ndarray


def second_look(
    refiner: Refiner, boxes_xyxy: np.ndarray, template_id: str, views: Sequence[View] = ()
) -> SecondLook:
    """Look into the window around each of these boxes for objects centred in the box.

    Args:
        boxes_xyxy: ``(N, 4)`` in frame pixels, one or more.
        views: how the object looked in earlier frames, as further references.
    """
    tight_xyxy, scores = _tracked(refiner.frame, boxes_xyxy, template_id)
    references = reference_views(refiner, template_id)
    known = references.with_views(views)
    embeddings = _embeddings(refiner, tight_xyxy)
    cosines = np.array([most_alike(embedding, known.embeddings) for embedding in embeddings])
    overlaps = None
    if known.colours:
        frame_bgr = refiner.frame.frame_bgr
        colours = [object_colours(frame_bgr, as_tuple(box)) for box in tight_xyxy]
        overlaps = np.array([most_overlap(one, known.colours) for one in colours])
    relative = None
    if refiner.cohort is not None and references.embeddings:
        # Recent views are not compared so: one that slipped off the object would be certain.
        relative = refiner.cohort.relative_cosines(embeddings, np.stack(references.embeddings))
    return SecondLook(tight_xyxy, scores, cosines, overlaps, relative, embeddings)


@dataclass(frozen=True)
class View:
    """How what is in a box looks: its features, ``(C,)`` of length 1 or 0, and its colours."""

    embedding: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True)
class KnownViews:
    """How an object is known to look. Of photos of another camera no colours are known."""

    embeddings: Tuple[np.ndarray, ...]
    colours: Tuple[np.ndarray, ...]

    def with_views(self, views: Sequence[View]) -> KnownViews:
        """These and further views."""
        return KnownViews(
            self.embeddings + tuple(view.embedding for view in views),
            self.colours + tuple(view.colours for view in views),
        )


def reference_views(refiner: Refiner, template_id: str) -> KnownViews:
    """How the object looks in its references."""
    embeddings: Tuple[np.ndarray, ...] = ()
    if refiner.embedders:
        embeddings = tuple(
            _side_by_side([each.reference_embeddings(template_id) for each in refiner.embedders])
        )
    return KnownViews(embeddings, tuple(refiner.frame.reference_colours(template_id)))


def view_of(refiner: Refiner, box_xyxy: BoxXYXY) -> View:
    """How what is in this box looks."""
    embedding = _embeddings(refiner, as_boxes(box_xyxy))[0]
    return View(embedding, object_colours(refiner.frame.frame_bgr, box_xyxy))


def most_alike(embedding: np.ndarray, known: Sequence[np.ndarray]) -> float:
    """The cosine with the most similar one; 0 if there is none."""
    return max((float(embedding @ other) for other in known), default=0.0)


def most_overlap(colours: np.ndarray, known: Sequence[np.ndarray]) -> float:
    """The overlap with the most similar ones; 0 if there are none."""
    return max((overlap(colours, other) for other in known), default=0.0)


def followed_evidence(search_score: float, view: View, known: KnownViews) -> np.ndarray:
    """The row ``(1, 5)`` that ``RefinementRule.followed`` weighs.

    The trackers' own scores led to this box, so they count as neither yes nor no.
    """
    return evidence(
        np.array([search_score]),
        np.array([0.5]),
        np.array([most_alike(view.embedding, known.embeddings)]),
        np.array([most_overlap(view.colours, known.colours)]),
    )


def _tracked(
    frame: SearchFrame, boxes_xyxy: np.ndarray, template_id: str
) -> Tuple[np.ndarray, np.ndarray]:
    """The tracking network's boxes and scores."""
    windows = [search_windows(as_tuple(box), frame.rule, frame.multiple)[0] for box in boxes_xyxy]
    seen = frame.infer(windows, [template_id])[template_id]
    boxes, scores = np.array(boxes_xyxy), np.zeros(len(boxes_xyxy))
    for i, found in enumerate(seen):
        clipped = clip(found.boxes_xyxy, *frame.frame_size)
        inside = centred_in(found.boxes_xyxy, as_tuple(boxes_xyxy[i])) & (area(clipped) > 0)
        if inside.any():
            best = int(np.argmax(np.where(inside, found.scores, -1.0)))
            boxes[i], scores[i] = clipped[best], found.scores[best]
    return boxes, scores


def _embeddings(refiner: Refiner, boxes_xyxy: np.ndarray) -> np.ndarray:
    """Features of what is in these boxes, rows of length 1; of length 0 without an embedder."""
    if not refiner.embedders:
        return np.zeros((len(boxes_xyxy), 1))
    return _side_by_side([each.embed(boxes_xyxy) for each in refiner.embedders])


def _side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Features of several networks as rows of length 1, whose cosine is the mean of the networks'
    cosines."""
    units = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6) for part in parts]
    return np.asarray(np.concatenate(units, axis=1) / np.sqrt(len(units)))
