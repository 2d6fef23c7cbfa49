"""The detector: the one class a user needs.

with Detector.open() as detector:
    detector.set_template([Reference(photo_bgr)], "red car")
    result = detector.detect(frame_bgr)
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import numpy as np

from refdet_core.backends import open_backend
from refdet_core.backends.base import Backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle, load_bundle
from refdet_core.closeable import Closeable
from refdet_core.detector_config import DetectorConfig as DetectorConfig
from refdet_core.errors import ConfigError, RefdetError
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.search_plans import make_search_plan
from refdet_core.templates import (
    Template,
    TemplateBank,
    encode_again,
    extend_template,
    make_bank,
    make_template,
)
from refdet_core.types import BoxXYXY, FrameResult, Reference

DEFAULT_TEMPLATE_ID = "target"
FRAME_PERIOD_S = 1 / 30
"""The assumed time between frames without time stamps."""


class Detector(Closeable):
    """Finds the objects in the reference photos in frames.

    One thread calls ``detect``. The template calls may come from other threads if the backend
    allows it (ONNX Runtime does); otherwise let one thread make all calls.

    Args:
        open_again: returns a new backend for :meth:`reopen`; None: reopening is not possible.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend[Any],
        config: DetectorConfig,
        open_again: Optional[Callable[[], Backend[Any]]] = None,
    ) -> None:
        self.bundle = bundle
        self.backend = backend
        self._open_again = open_again
        self._bank = TemplateBank()
        self._bank_change = threading.Lock()
        self._time_s = 0.0
        self._config, self._plan = config, make_search_plan(bundle, config)

    @classmethod
    def open(
        cls,
        bundle: Optional[Path] = None,
        backend: str = "auto",
        config: DetectorConfig = DetectorConfig(),
        backend_config: BackendConfig = BackendConfig(),
    ) -> Detector:
        """Load a bundle and open a backend.

        Raises:
            RefdetError: the bundle or the backend cannot be used.
        """
        loaded = load_bundle(bundle)
        opened = open_backend(backend, loaded, backend_config)
        # By the backend's own name: `auto` would silently continue on the CPU after losing the GPU.
        name = opened.name
        return cls(loaded, opened, config, lambda: open_backend(name, loaded, backend_config))

    @property
    def config(self) -> DetectorConfig:
        """The current settings."""
        return self._config

    @property
    def bank(self) -> TemplateBank:
        """The current templates."""
        return self._bank

    @property
    def score_threshold(self) -> float:
        """The current threshold: the configured one, else the bundle's."""
        return self._config.threshold(self.bundle)

    def configure(self, config: DetectorConfig) -> None:
        """Change the settings; the templates stay. Nothing changes if this raises."""
        plan = make_search_plan(self.bundle, config)
        with self._bank_change:
            bank = make_bank(
                self.backend, self._bank.templates, self._bank.version + 1, config.reference_pooling
            )
            plan.adopt_state(self._plan)
            self._config, self._plan, self._bank = config, plan, bank

    def set_template(
        self,
        references: Sequence[Reference],
        template_id: str = DEFAULT_TEMPLATE_ID,
        append: bool = False,
    ) -> Template:
        """Search for the object in these references from now on.

        Args:
            references: 1-5 photos of one object.
            template_id: replaces the template of that id; other ids stay.
            append: add the references to that template instead of replacing it.

        Raises:
            BadReferenceError: a reference cannot be used.
            OutOfMemoryError: the device has too little memory. After either error the old templates
                stay.
        """
        template = make_template(self.backend, self.bundle, template_id, references)
        with self._bank_change:
            templates = dict(self._bank.templates)
            extends = append and template_id in templates
            if extends:
                template = extend_template(templates[template_id], template)
            templates[template_id] = template
            self._exchange(templates)
            if not extends:
                self._plan.forget(template_id)
        return template

    def clear_template(self, template_id: Optional[str] = None) -> Tuple[str, ...]:
        """Remove one template, or all (None). Returns the removed ids.

        Raises:
            ConfigError: there is no template of that id.
        """
        with self._bank_change:
            templates = dict(self._bank.templates)
            if template_id is None:
                gone = tuple(templates)
                templates.clear()
            elif template_id in templates:
                gone = (template_id,)
                del templates[template_id]
            else:
                known = ", ".join(templates) or "none"
                raise ConfigError(f"There is no template '{template_id}'; known: {known}.")
            self._exchange(templates)
            for name in gone:
                self._plan.forget(name)
        return gone

    def lock(self, template_id: str, box_xyxy: BoxXYXY) -> None:
        """Track a template's object from this box on (searches ``track`` and ``auto``).

        Args:
            template_id: a template that has been set.
            box_xyxy: where the object is in the frame that :meth:`detect` gets next, or was a
                moment ago, in frame pixels.

        Raises:
            ConfigError: no such template, an empty box, or a search that does not track.
        """
        if template_id not in self._bank.templates:
            known = ", ".join(self._bank.templates) or "none"
            raise ConfigError(f"There is no template '{template_id}'; known: {known}.")
        x1, y1, x2, y2 = box_xyxy
        if not (np.isfinite(box_xyxy).all() and x1 < x2 and y1 < y2):
            raise ConfigError(
                f"A target's box must be finite with a width and height above 0, got {box_xyxy}."
            )
        self._plan.lock(template_id, box_xyxy)

    def detect(
        self, frame_bgr: np.ndarray, heatmaps: bool = False, time_s: Optional[float] = None
    ) -> FrameResult:
        """Search one frame for all templates.

        Args:
            frame_bgr: ``(H, W, 3)`` uint8.
            heatmaps: also return the score map of each template.
            time_s: when the frame was taken, in seconds since a fixed but arbitrary start; the
                searches that track use it. None: 1/30 s after the previous frame.

        Returns:
            Detections in frame pixels, best first; none while there is no template.
        """
        if (
            frame_bgr.ndim != 3
            or frame_bgr.shape[2] != 3
            or frame_bgr.dtype != np.uint8
            or not frame_bgr.size
        ):
            raise RefdetError(
                "A frame must be a non-empty (H, W, 3) uint8 BGR image, got "
                f"{frame_bgr.shape} {frame_bgr.dtype}."
            )
        with self._bank_change:
            bank, plan = self._bank, self._plan
            self._time_s = self._time_s + FRAME_PERIOD_S if time_s is None else time_s
            frame = NetworkSearchFrame(self.backend, self.bundle, bank, frame_bgr, self._time_s)
        if not bank.templates:
            return FrameResult((), {}, bank.version)
        started = time.perf_counter()
        found = plan.search(frame, tuple(bank.templates))
        timings_ms = dict(frame.timings_ms)
        timings_ms["search"] = (time.perf_counter() - started) * 1e3 - sum(timings_ms.values())
        detections = [item for each in found.values() for item in each.detections]
        return FrameResult(
            tuple(sorted(detections, key=lambda detection: -detection.score)),
            {name: each.presence for name, each in found.items()},
            bank.version,
            timings_ms,
            {name: each.status for name, each in found.items() if each.status is not None},
            frame.heatmaps() if heatmaps else {},
        )

    def reopen(self) -> None:
        """Close the backend and open it again, after a :class:`DeviceLostError`.

        Settings, templates and tracks stay; the templates are encoded again from their stored
        crops. If it fails, call it again later; until then there is no open backend.

        Raises:
            RefdetError: the backend cannot be opened yet.
        """
        if self._open_again is None:
            raise RefdetError("This detector was given an open backend and cannot open another.")
        with self._bank_change:
            self.backend.close()
            backend = self._open_again()
            try:
                templates = {
                    name: encode_again(backend, template)
                    for name, template in self._bank.templates.items()
                }
                # A new version, so that no view encoded on the old device is used.
                bank = make_bank(
                    backend, templates, self._bank.version + 1, self._config.reference_pooling
                )
            except Exception:
                backend.close()
                raise
            self.backend, self._bank = backend, bank

    def close(self) -> None:
        """Release the backend. Closing twice is harmless."""
        self.backend.close()

    def _exchange(self, templates: Dict[str, Template]) -> None:
        self._bank = make_bank(
            self.backend, templates, self._bank.version + 1, self._config.reference_pooling
        )
