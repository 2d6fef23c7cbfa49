"""Checks an engine against ONNX Runtime: probabilities, boxes relative to their size, kernels
relative to their largest value.

The limits are several times the rounding error of the released model. In FP16, simulated with
PyTorch, scores differ by up to 0.003 and the boxes of found objects by 0.3 % of their size; in
INT8, simulated with Q/DQ in ONNX Runtime on aerial photos, by up to 0.06 and 16 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple

import numpy as np

from refdet_core.backends.engines.graph import Feed, run_reference
from refdet_core.backends.engines.profiles import Profile, Shape
from refdet_core.errors import EngineRefusedError

Run = Callable[[bytes, Feed], Feed]
"""Runs a serialised engine once."""
Frames = Callable[[int, int, int], np.ndarray]

_LIMITS: Dict[str, Dict[str, Tuple[float, float]]] = {
    "fp32": {"score": (2e-3, 2e-4), "presence": (2e-3, 1e-3), "box": (0.01, 1e-3)},
    "fp16": {"score": (0.02, 2e-3), "presence": (0.02, 0.01), "box": (0.05, 0.01)},
    "int8": {"score": (0.2, 0.015), "presence": (0.3, 0.1), "box": (0.4, 0.06)},
}
"""Largest and mean difference by precision and output ..."""
_OTHER_LIMITS = {"fp32": (2e-3, 2e-4), "fp16": (0.02, 5e-3), "int8": (0.25, 0.05)}
"""... and of kernels."""
_FOUND_SHARE = 0.5
"""Boxes count at cells that score at least this share of the map's best."""
_LEAST_SIDE_PX = 8.0


@dataclass(frozen=True)
class Difference:
    """The difference between engine and ONNX Runtime in one output, over all tested shapes."""

    largest: float
    mean: float
    largest_allowed: float
    mean_allowed: float

    @property
    def is_small(self) -> bool:
        """Whether it is within the limits; NaN is not."""
        return self.largest <= self.largest_allowed and self.mean <= self.mean_allowed


def check_engine(
    name: str, engine: bytes, model: bytes, feeds: List[Feed], precision: str, run: Run
) -> Dict[str, Difference]:
    """Compare an engine with ONNX Runtime.

    Args:
        name: the graph's name for messages.
        model: the ONNX file's content.
        run: runs a serialised engine.

    Returns:
        The worst differences by output.

    Raises:
        EngineRefusedError: they are too large; the message has the numbers.
    """
    worst: Dict[str, Difference] = {}
    for feed, expected in zip(feeds, run_reference(model, feeds)):
        found = run(engine, feed)
        for output, wanted in expected.items():
            difference = _difference(output, found[output], expected, precision)
            if found[output].shape != wanted.shape:
                raise EngineRefusedError(
                    f"The new {precision} engine of the {name} returns {output} as "
                    f"{found[output].shape}, ONNX Runtime as {wanted.shape}; it is not used."
                )
            before = worst.get(output, difference)
            worst[output] = Difference(
                _worse(before.largest, difference.largest),
                _worse(before.mean, difference.mean),
                difference.largest_allowed,
                difference.mean_allowed,
            )
    wrong = {output: item for output, item in worst.items() if not item.is_small}
    if wrong:
        raise EngineRefusedError(
            "The new {} engine of the {} disagrees with ONNX Runtime and is not used: {}. "
            "{}".format(
                precision,
                name,
                "; ".join(
                    f"{output} differs by {item.largest:.3g} (at most {item.largest_allowed:g} is "
                    f"allowed), by {item.mean:.3g} on average ({item.mean_allowed:g})"
                    for output, item in wrong.items()
                ),
                _ADVICE[precision],
            )
        )
    return worst


_ADVICE = {
    "fp32": "Use the onnxruntime backend and report this.",
    "fp16": "Use precision fp32.",
    "int8": "Calibrate with more frames like those it will see, or use precision fp16.",
}


def detector_feeds(profiles: Tuple[Profile, ...], kernels: Feed, frames: Frames) -> List[Feed]:
    """Inputs of several shapes within each profile.

    Args:
        kernels: by name, of at least as many views as the profiles take.
        frames: makes a number of frames of a width and height.
    """

    def feed(shape: Shape, views: int) -> Feed:
        count, _, height, width = shape
        few = {name: kernel[:views] for name, kernel in kernels.items()}
        return {"frame": frames(count, width, height), **few}

    feeds: List[Feed] = []
    for profile in profiles:
        usual, most = profile.inputs["frame"].usual, profile.inputs["frame"].most
        views = min(profile.inputs[name].most[0] for name in kernels)
        feeds.append(feed(usual, 1))
        feeds.append(feed(usual, views))
        feeds.append(feed((most[0], *usual[1:]), 1))
        feeds.append(feed((usual[0], *most[1:]), 1))
    return feeds


def _difference(output: str, found: np.ndarray, expected: Feed, precision: str) -> Difference:
    limits = _LIMITS[precision].get(output, _OTHER_LIMITS[precision])
    wanted = expected[output]
    if found.shape != wanted.shape:
        return Difference(np.inf, np.inf, *limits)
    difference = np.abs(found.astype(np.float64) - wanted)
    if output == "box":
        difference = (difference / _sides(wanted))[_where_found(expected["score"])]
    elif output not in _LIMITS[precision]:
        difference = difference / max(float(np.abs(wanted).max()), 1e-12)
    return Difference(float(difference.max()), float(difference.mean()), *limits)


def _sides(box: np.ndarray) -> np.ndarray:
    """Width, height, width, height of every box, ``(B, V, 4, h, w)``."""
    sides = np.maximum(box[:, :, 2:] - box[:, :, :2], _LEAST_SIDE_PX)
    return np.concatenate([sides, sides], axis=2)


def _where_found(score: np.ndarray) -> np.ndarray:
    """Mask ``(B, V, 4, h, w)`` of the cells near each map's best score."""
    found = score >= _FOUND_SHARE * score.max(axis=(2, 3), keepdims=True)
    return np.repeat(found[:, :, None], 4, axis=2)


def _worse(first: float, second: float) -> float:
    """The larger one; NaN is worse than any number."""
    return second if not second <= first else first
