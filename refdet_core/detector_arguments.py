"""Arguments of the commands that open a detector, and of those that start a node which does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional, Sequence

from refdet_core.backends import BACKEND_NAMES
from refdet_core.backends.config import BackendConfig
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.search_plans import SEARCH_NAMES
from refdet_core.settings import with_settings
from refdet_core.stderr_log import log_to_stderr
from refdet_core.tracking_bundles import AUTO


def add_detector_arguments(
    parser: argparse.ArgumentParser, when: str = "", bundle: Optional[Path] = None
) -> None:
    """Add the arguments that :func:`open_detector` reads.

    Args:
        when: precedes each help text.
        bundle: default of ``--bundle``; None is the most accurate one.
    """
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="NAME",
        default=bundle,
        help=f"{when}released model (base, small), folder of a model bundle, or auto: base on a "
        f"GPU, small on a CPU (default: {bundle or 'base'})",
    )
    parser.add_argument(
        "--tracking-bundle",
        default=AUTO,
        metavar="NAME",
        help=f"{when}what follows targets in their windows: bundles that come with refdet or "
        "folders, joined by '+'; none: the model bundle (default: %(default)s)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKEND_NAMES,
        default="auto",
        help=f"{when}what runs the network (default: %(default)s: tensorrt where it can, else "
        "onnxruntime)",
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"{when}any other setting, by the name of the node's parameter (may be repeated)",
    )


_SEARCHES = {
    "full_frame": "full_frame searches each frame on its own, shrunk",
    "tiles": "tiles does so at full size, piece by piece",
    "track": "track follows the object in a window, and searches the whole frame when it loses it",
    "auto": "auto does so too, and also checks the whole frame while it follows",
}


def add_search_argument(
    parser: argparse.ArgumentParser,
    default: Optional[str] = None,
    otherwise: str = DetectorConfig.search,
    when: str = "",
    choices: Sequence[str] = SEARCH_NAMES,
) -> None:
    """Add ``--search``.

    Args:
        otherwise: what happens without it if there is no default, in words.
        when: precedes the help text.
    """
    described = "; ".join(_SEARCHES[name] for name in choices)
    parser.add_argument(
        "--search",
        choices=choices,
        default=default,
        help=f"{when}{described} (default: {default or otherwise})",
    )


def open_detector(options: argparse.Namespace, config: DetectorConfig) -> Detector:
    """Open the detector that the command line describes. Slow steps are reported on stderr.

    Args:
        options: with the arguments of :func:`add_detector_arguments`.
        config: the settings from the command's other options; ``--config`` overrides them.

    Raises:
        RefdetError: a setting, the bundle or the backend cannot be used.
    """
    config, backend_config = with_settings(options.config, config, BackendConfig())
    with log_to_stderr():
        return Detector.open(
            options.bundle, options.backend, config, backend_config, options.tracking_bundle
        )
