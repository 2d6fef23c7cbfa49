"""The detector: the one class a user needs.

with Detector.open() as detector:
    detector.set_template([Reference(photo_bgr)], "red car")
    result = detector.detect(frame_bgr)
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.backends import open_backend
from refdet_core.backends.base import Backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import COMPARE, SEARCH, Bundle, check_camera, load_bundle
from refdet_core.closeable import Closeable
from refdet_core.detector_config import DetectorConfig as DetectorConfig
from refdet_core.errors import BundleError, ConfigError, RefdetError
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.imaging import image_in_words, is_colour_image
from refdet_core.network import Network
from refdet_core.search_bundle import search_bundle
from refdet_core.search_plans import make_search_plan
from refdet_core.templates import (
    Template,
    TemplateBank,
    encode_again,
    extend_template,
    make_bank,
    make_template,
)
from refdet_core.tracking_bundles import AUTO, comparing_bundles, tracking_bundles
from refdet_core.types import BoxXYXY, FrameResult, Reference

DEFAULT_TEMPLATE_ID = "target"
FRAME_PERIOD_S = 1 / 30
"""The assumed time between frames without time stamps."""
_LOG = logging.getLogger(__name__)


class Detector(Closeable):
    """Finds the objects in the reference photos in frames.

    One thread calls ``detect``. The template calls may come from other threads if the backend
    allows it (ONNX Runtime does); otherwise let one thread make all calls.

    Args:
        open_again: returns a new backend for :meth:`reopen`; None: reopening is not possible.
        others: networks that work beside the one that searches: they track targets in their
            windows, or compare candidates with references. Their backends are closed with the
            detector.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend[Any],
        config: DetectorConfig,
        open_again: Optional[Callable[[], Backend[Any]]] = None,
        others: Sequence[Network] = (),
    ) -> None:
        self.others = tuple(others)
        self.bundle = bundle
        self.backend = backend
        self._open_again = open_again
        self._bank = TemplateBank(others=tuple(TemplateBank() for _ in self.others))
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
        tracking_bundle: str = AUTO,
    ) -> Detector:
        """Load the bundles and open a backend for each.

        Args:
            bundle: the search network, see
                :func:`refdet_core.search_bundle.search_bundle`; None takes the released default.
            tracking_bundle: the networks that follow targets, see
                :func:`refdet_core.tracking_bundles.tracking_bundles`.

        Raises:
            RefdetError: the bundle or the backend cannot be used.
        """
        folder = search_bundle(bundle, backend)
        loaded = load_bundle(folder)
        check_camera(loaded)
        _check_searches(loaded, config)
        opened = open_backend(backend, loaded, backend_config)
        # By the backend's own name: `auto` would silently continue on the CPU after losing the GPU.
        name = opened.name
        others: List[Network] = []
        try:
            tracking = tracking_bundles(tracking_bundle, folder, name)
            for each in tracking:
                others.append(Network.open(each, name, backend_config, follows=True))
            for each in comparing_bundles(loaded, tracking):
                others.append(Network.open(each, name, backend_config))
        except Exception:
            for network in others:
                network.backend.close()
            opened.close()
            raise
        return cls(
            loaded, opened, config, lambda: open_backend(name, loaded, backend_config), others
        )

    @property
    def config(self) -> DetectorConfig:
        """The current settings."""
        return self._config

    @property
    def bank(self) -> TemplateBank:
        """The current templates."""
        return self._bank

    @property
    def model(self) -> str:
        """Names and versions of the networks, for people."""
        parts = [_names(self._networks[:1])]
        following = [network for network in self.others if network.follows]
        comparing = [network for network in self.others if not network.follows]
        if following:
            parts.append("targets followed by " + _names(following))
        if comparing:
            parts.append("compared by " + _names(comparing))
        return ", ".join(parts)

    @property
    def score_threshold(self) -> float:
        """The current threshold: the configured one, else the bundle's."""
        return self._config.threshold(self.bundle)

    def configure(self, config: DetectorConfig) -> None:
        """Change the settings; the templates stay. Nothing changes if this raises."""
        plan = make_search_plan(self.bundle, config)
        with self._bank_change:
            bank = self._packed([bank.templates for bank in self._banks], config.reference_pooling)
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
        made = [
            make_template(network.backend, network.bundle, template_id, references)
            for network in self._networks
        ]
        with self._bank_change:
            extends = append and template_id in self._bank.templates
            if extends:
                made = [
                    extend_template(bank.templates[template_id], template)
                    for bank, template in zip(self._banks, made)
                ]
            self._exchange(
                [
                    {**bank.templates, template_id: template}
                    for bank, template in zip(self._banks, made)
                ]
            )
            if not extends:
                self._plan.forget(template_id)
        return made[0]

    def clear_template(self, template_id: Optional[str] = None) -> Tuple[str, ...]:
        """Remove one template, or all (None). Returns the removed ids.

        Raises:
            ConfigError: there is no template of that id.
        """
        with self._bank_change:
            templates = self._bank.templates
            if template_id is not None and template_id not in templates:
                known = ", ".join(templates) or "none"
                raise ConfigError(f"There is no template '{template_id}'; known: {known}.")
            gone = tuple(templates) if template_id is None else (template_id,)
            self._exchange(
                [
                    {name: item for name, item in bank.templates.items() if name not in gone}
                    for bank in self._banks
                ]
            )
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
        self._check_place(template_id, box_xyxy)
        self._plan.lock(template_id, box_xyxy)

    def expect(self, template_id: str, box_xyxy: BoxXYXY, age_s: float) -> None:
        """Look for a template's object first where it was a while ago.

        The searches ``track`` and ``auto`` track it as soon as one frame shows it there. If it has
        moved on, they search as usual. The other searches do not need the hint.

        Args:
            template_id: a template that has been set.
            box_xyxy: where the object was, in frame pixels.
            age_s: how long ago, before the frame that :meth:`detect` gets next.

        Raises:
            ConfigError: no such template, an empty box, or a negative age.
        """
        self._check_place(template_id, box_xyxy)
        if not 0 <= age_s < np.inf:
            raise ConfigError(f"A box must be 0 or more seconds old, got {age_s}.")
        self._plan.expect(template_id, box_xyxy, age_s)

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
        if not is_colour_image(frame_bgr) or not frame_bgr.size:
            raise RefdetError(
                "A frame must be a non-empty (H, W, 3) uint8 BGR image, got "
                f"{image_in_words(frame_bgr)}."
            )
        with self._bank_change:
            bank, plan = self._bank, self._plan
            self._time_s = self._time_s + FRAME_PERIOD_S if time_s is None else time_s
            frame = NetworkSearchFrame(
                self.backend, self.bundle, bank, frame_bgr, self._time_s, self.others
            )
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

    def follow_with(self, names: Sequence[str]) -> None:
        """Let those of the other networks that have these names follow targets, and no others.

        None of them: the search network follows. Those that stop still compare candidates.

        Raises:
            ConfigError: there is no such network.
        """
        known = [network.bundle.name for network in self.others]
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"There is no network '{name}' to follow targets; known: "
                    f"{', '.join(known) or 'none'}."
                )
        with self._bank_change:
            self.others = tuple(
                replace(network, follows=network.bundle.name in names) for network in self.others
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
            self.close()
            opened: List[Network] = []
            try:
                opened.append(Network(self.bundle, self._open_again()))
                opened.extend(network.reopened() for network in self.others)
                sets = [
                    {
                        name: encode_again(network.backend, template)
                        for name, template in bank.templates.items()
                    }
                    for network, bank in zip(opened, self._banks)
                ]
                # With another version, so that no view made on the old device is used any more.
                bank = self._packed(sets, self._config.reference_pooling, opened)
            except Exception:
                for network in opened:
                    network.backend.close()
                raise
            self.backend, self.others, self._bank = opened[0].backend, tuple(opened[1:]), bank

    def close(self) -> None:
        """Release the backends. Closing twice is harmless."""
        for network in self._networks:
            network.backend.close()

    def _check_place(self, template_id: str, box_xyxy: BoxXYXY) -> None:
        if template_id not in self._bank.templates:
            known = ", ".join(self._bank.templates) or "none"
            raise ConfigError(f"There is no template '{template_id}'; known: {known}.")
        x1, y1, x2, y2 = box_xyxy
        if not (np.isfinite(box_xyxy).all() and x1 < x2 and y1 < y2):
            raise ConfigError(
                f"A target's box must be finite with a width and height above 0, got {box_xyxy}."
            )

    @property
    def _networks(self) -> Tuple[Network, ...]:
        """The search network, then the others."""
        return (Network(self.bundle, self.backend), *self.others)

    @property
    def _banks(self) -> Tuple[TemplateBank, ...]:
        """The templates as each network has them."""
        return (self._bank, *self._bank.others)

    def _exchange(self, sets: Sequence[Dict[str, Template]]) -> None:
        """Look for other templates from the next frame on, with all networks at once."""
        self._bank = self._packed(sets, self._config.reference_pooling)

    def _packed(
        self,
        sets: Sequence[Dict[str, Template]],
        pooling: str,
        networks: Optional[Sequence[Network]] = None,
    ) -> TemplateBank:
        """A bank of these templates, for each network its own set."""
        version = self._bank.version + 1
        search, *others = (
            make_bank(network.backend, templates, version, pooling)
            for network, templates in zip(networks or self._networks, sets)
        )
        return replace(search, others=tuple(others))


def _names(networks: Sequence[Network]) -> str:
    return " and ".join(f"{each.bundle.name} {each.bundle.version}" for each in networks)


def _check_searches(bundle: Bundle, config: DetectorConfig) -> None:
    if bundle.purposes == (COMPARE,):
        raise BundleError(
            f"The network of '{bundle.name}' compares pictures and finds nothing in a frame; give "
            "one that searches: 'base', 'small', or the folder of your own."
        )
    if SEARCH not in bundle.purposes and config.search != "track":
        _LOG.warning(
            "The network of '%s' was made to follow, not to search: its scores do not tell whether "
            "an object is in view.",
            bundle.name,
        )
