"""The contracts of searching: a plan decides where to look, a frame runs the network there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

import numpy as np

from refdet_core.cohort import Cohort
from refdet_core.decoding import Candidates
from refdet_core.errors import ConfigError
from refdet_core.imaging import Crop
from refdet_core.refinement_rule import RefinementRule
from refdet_core.search.scales import SizeRange
from refdet_core.tracking_rule import TrackingRule
from refdet_core.types import BoxXYXY, Detection, TargetStatus

Result = TypeVar("Result")


@dataclass(frozen=True)
class ViewComparison:
    """A template's candidates, and the probability of each according to another view of the object.

    Attributes:
        candidates: what :meth:`SearchFrame.infer` returns for the template alone.
        view_scores: each candidate's calibrated probability by the other view alone, ``(N,)``.
    """

    candidates: Candidates
    view_scores: np.ndarray


class SearchFrame(ABC):
    """One frame, and the network's answers for any part of it.

    Attributes:
        frame_bgr: the frame, ``(H, W, 3)`` uint8.
        time_s: when the frame was taken, in seconds since a fixed but arbitrary start.
        bank_version: changes whenever the templates change.
        rule: how a target is tracked with the network that the frame is seen through.
        multiple: sides of its crops in network pixels are multiples of this.
    """

    frame_bgr: np.ndarray
    time_s: float
    bank_version: int = 0
    rule: TrackingRule = TrackingRule()
    multiple: int = 16

    @property
    def frame_size(self) -> Tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self.frame_bgr.shape[1], self.frame_bgr.shape[0]

    @property
    def trackers(self) -> Sequence[SearchFrame]:
        """The same frame through the networks that follow a target in its window: this one, or
        others that were made for it."""
        return (self,)

    def together(self, calls: Sequence[Callable[[], Result]]) -> List[Result]:
        """Make calls that each use another network, at the same time where the backend allows
        it."""
        return [call() for call in calls]

    @property
    def refiner(self) -> Optional[Refiner]:
        """What looks again at the best candidates of a full-frame search, if anything does."""
        return None

    @abstractmethod
    def infer(
        self, crops: Sequence[Crop], template_ids: Sequence[str]
    ) -> Dict[str, List[Candidates]]:
        """Run the network on crops that share one network size.

        Returns:
            For each template its candidates in each crop, best first: boxes in frame pixels (not
            clipped to the frame), scores as calibrated probabilities.
        """

    def reference_size(self, template_id: str) -> Optional[SizeRange]:
        """The object's sizes in its references, if this camera took them; else None."""
        return None

    def reference_colours(self, template_id: str) -> Sequence[np.ndarray]:
        """The object's colours in its references of this camera, see :mod:`refdet_core.colours`."""
        return ()

    def embed(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """The features that the template encoder makes of what is in these boxes ``(N, 4)``, pooled
        over the object: ``(N, C)``."""
        raise NotImplementedError

    def reference_embeddings(self, template_id: str) -> np.ndarray:
        """The same of a template's references, ``(R, C)``."""
        raise NotImplementedError

    def encode(self, box_xyxy: BoxXYXY) -> Any:
        """Encode the contents of this box like a reference.

        Used only with ``track_update_s``, as is :meth:`infer_with_view`.

        Raises:
            BadReferenceError: the box is too small or outside.
        """
        raise NotImplementedError

    def infer_with_view(self, crops: Sequence[Crop], template_id: str, view: Any) -> ViewComparison:
        """Run the network on crops of one network size, with a template and a view from
        :meth:`encode`.

        Returns:
            The template's candidates in all crops, in the order of the crops.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Refiner:
    """What looks again at candidates.

    Attributes:
        frame: the frame through the tracking network that looks again.
        rule: what its answers count.
        embedders: the frame through the networks whose template features are compared, side by
            side; empty: the rule does without.
        cohort: what their cosines are compared with; None: the rule does without.
    """

    frame: SearchFrame
    rule: RefinementRule
    embedders: Tuple[SearchFrame, ...] = ()
    cohort: Optional[Cohort] = None


@dataclass(frozen=True)
class SearchResult:
    """What a plan found of one template in one frame.

    Attributes:
        detections: the reported detections, best first.
        presence: probability of the best candidate in all searched crops; 0 if none was searched.
        status: the target's state; None for plans without memory.
    """

    detections: Tuple[Detection, ...]
    presence: float
    status: Optional[TargetStatus] = None


class SearchPlan(ABC):
    """Where to look in each frame. A plan that remembers earlier frames is used by one thread."""

    @abstractmethod
    def search(self, frame: SearchFrame, template_ids: Sequence[str]) -> Dict[str, SearchResult]:
        """Search one frame for each of these templates."""

    def lock(self, template_id: str, box_xyxy: BoxXYXY) -> None:
        """Track this template's object from this box on, starting with the next frame.

        Raises:
            ConfigError: this plan does not track.
        """
        raise ConfigError(
            "This search treats each frame independently and cannot start from a box; "
            "choose the search 'track' or 'auto'."
        )

    def expect(self, template_id: str, box_xyxy: BoxXYXY, age_s: float) -> None:  # noqa: B027
        """Look first where this template's object was ``age_s`` seconds before the next frame."""

    def forget(self, template_id: str) -> None:  # noqa: B027 - nothing, without memory
        """Forget this template's target: the template was replaced or cleared."""

    def adopt_state(self, other: SearchPlan) -> None:  # noqa: B027 - nothing, without memory
        """Continue with the memory of another plan of the same kind, which is no longer used."""
