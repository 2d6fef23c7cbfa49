"""Finds the criterion that trains a head."""

from __future__ import annotations

from collections.abc import Callable

from refdet_training.criteria.anchors import AnchorCriterion
from refdet_training.criteria.base import Criterion
from refdet_training.criteria.heatmap import HeatmapCriterion, matched_groups
from refdet_training.criteria.logistic import LogisticCriterion
from refdet_training.criteria.tent import TentCriterion
from refdet_training.losses import LossConfig

__all__ = ["Criterion", "make_criterion", "matched_groups"]

_CRITERIA: dict[str, Callable[[LossConfig, int], Criterion]] = {
    "heatmap": HeatmapCriterion,
    "score": lambda config, _: LogisticCriterion(config.logistic),
    "anchors": lambda config, _: AnchorCriterion(config.anchors),
    "tent": lambda config, _: TentCriterion(config.tent),
}


def make_criterion(head: str, config: LossConfig, group_size: int) -> Criterion:
    """The criterion of a head, one of :data:`refdet_core.model.heads.HEADS`.

    Args:
        group_size: for the head ``heatmap``: frames in a group, which are compared with all
            templates of the group.
    """
    return _CRITERIA[head](config, group_size)
