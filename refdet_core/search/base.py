"""The contracts of searching: a plan decides where to look, a look is what the network saw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.decoding import Candidates
from refdet_core.errors import ConfigError
from refdet_core.imaging import Crop
from refdet_core.search.scales import SizeRange
from refdet_core.types import BoxXYXY, Detection, TargetStatus


@dataclass(frozen=True)
class ViewComparison:
    """A template's candidates, and what another view of its object says of each.

    Attributes:
        candidates: the candidates by the template alone, as :meth:`SearchFrame.infer` finds them.
        view_scores: their probabilities by the other view alone, calibrated, ``(N,)``.
    """

    candidates: Candidates
    view_scores: np.ndarray


class SearchFrame(ABC):
    """One frame, seen through the network wherever a plan asks to.

    Attributes:
        frame_bgr: the frame, ``(H, W, 3)`` uint8.
        time_s: when it was taken, in seconds since any start that stays the same.
        bank_version: another one means that the templates may be others.
    """

    frame_bgr: np.ndarray
    time_s: float
    bank_version: int = 0

    @property
    def frame_size(self) -> Tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self.frame_bgr.shape[1], self.frame_bgr.shape[0]

    @abstractmethod
    def infer(
        self, crops: Sequence[Crop], template_ids: Sequence[str]
    ) -> Dict[str, List[Candidates]]:
        """Look at crops of one network size.

        Returns:
            For each template its candidates in each crop: boxes in frame pixels (not cut at the
            border), scores as calibrated probabilities, best first.
        """

    def reference_size(self, template_id: str) -> Optional[SizeRange]:
        """How large the object is in its references, if they are of this camera; else None."""
        return None

    def encode(self, box_xyxy: BoxXYXY) -> Any:
        """The view of what is in this box of the frame, encoded like a reference.

        Only asked for with ``track_update_s``, as is :meth:`infer_with_view`.

        Raises:
            BadReferenceError: the box is too small or outside.
        """
        raise NotImplementedError

    def infer_with_view(self, crops: Sequence[Crop], template_id: str, view: Any) -> ViewComparison:
        """Look at crops of one network size, by a template and by a view from :meth:`encode`.

        Returns:
            The template's candidates of all crops, crop by crop.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SearchResult:
    """What a plan says of one template in one frame.

    Attributes:
        detections: what it reports, best first.
        presence: probability of the best candidate wherever the plan looked; 0 if nowhere.
        status: where the plan is with this target; None for plans without memory.
    """

    detections: Tuple[Detection, ...]
    presence: float
    status: Optional[TargetStatus] = None


class SearchPlan(ABC):
    """Where to look in each frame. A plan may remember what it saw; then one thread uses it."""

    @abstractmethod
    def search(self, frame: SearchFrame, template_ids: Sequence[str]) -> Dict[str, SearchResult]:
        """Search one frame for each of these templates."""

    def lock(self, template_id: str, box_xyxy: BoxXYXY) -> None:
        """Follow this template from this box on, beginning with the next frame.

        Raises:
            ConfigError: this plan does not follow anything.
        """
        raise ConfigError(
            "This search looks at every frame anew and cannot start from a box; "
            "choose the search 'track' or 'auto'."
        )

    def forget(self, template_id: str) -> None:  # noqa: B027 - nothing, without memory
        """Begin anew with this template: it was replaced or cleared."""

    def adopt_state(self, other: SearchPlan) -> None:  # noqa: B027 - nothing, without memory
        """Go on with what another plan of the same kind remembers; it is not used any more."""
