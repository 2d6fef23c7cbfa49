"""The command ``refdet engine build``: beforehand what the TensorRT backend does when it opens."""

from __future__ import annotations

import argparse
from pathlib import Path

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.stderr_log import log_to_stderr

PRECISIONS = ("fp16", "fp32", "int8")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``refdet engine``."""
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser(
        "build",
        help="build the TensorRT engines of a bundle for this machine",
        description="Build the TensorRT engines of a model bundle for this machine and compare "
        "them with ONNX Runtime. Takes minutes; engines that are there are left as they are.",
    )
    build.add_argument(
        "--bundle", type=Path, metavar="DIR", help="model bundle (default: the released one)"
    )
    defaults = BackendConfig()
    build.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="int8 needs --calibration (default: %(default)s)",
    )
    build.add_argument(
        "--calibration",
        default=defaults.engine_calibration,
        metavar="DIR",
        help="folder of frames to calibrate int8 with; photos of objects in its folder references",
    )
    build.add_argument(
        "--workspace-mb",
        type=int,
        default=defaults.engine_workspace_mb,
        metavar="MB",
        help="most memory for one layer (default: %(default)s)",
    )
    build.add_argument(
        "--dla",
        type=int,
        nargs="?",
        const=0,
        default=defaults.engine_dla,
        metavar="CORE",
        help="run what can be run on this deep learning accelerator (0 if no number is given); the "
        "engine then takes one frame of --max-width x --max-height alone",
    )
    build.add_argument(
        "--engine-folder",
        default=defaults.engine_folder,
        metavar="DIR",
        help="where engines are kept (default: refdet/engines in the user's cache folder)",
    )
    build.add_argument(
        "--max-views",
        type=int,
        default=defaults.engine_max_views,
        metavar="N",
        help="most template views at once (default: %(default)s)",
    )
    build.add_argument(
        "--max-tiles",
        type=int,
        default=defaults.engine_max_tiles,
        metavar="N",
        help="most tiles at once (default: %(default)s)",
    )
    for side in ("width", "height"):
        build.add_argument(
            f"--max-{side}",
            type=int,
            default=getattr(defaults, f"engine_max_{side}"),
            metavar="PX",
            help=f"{side} of the largest tile in network pixels (default: %(default)s)",
        )
    build.add_argument("--force", action="store_true", help="build anew what is there")


def engine(options: argparse.Namespace) -> int:
    """``refdet engine build``.

    Raises:
        RefdetError: with one sentence that says what is wrong and what to do.
    """
    from refdet_core.backends.engines.cache import engine_folder, ready_engines

    config = BackendConfig(
        precision=options.precision,
        engine_folder=options.engine_folder,
        engine_workspace_mb=options.workspace_mb,
        engine_max_views=options.max_views,
        engine_max_tiles=options.max_tiles,
        engine_max_width=options.max_width,
        engine_max_height=options.max_height,
        engine_calibration=options.calibration,
        engine_dla=options.dla,
    )
    bundle = load_bundle(options.bundle)
    because = "--force was given" if options.force else ""
    with log_to_stderr():
        engines = ready_engines(bundle, config, options.precision, because, must_keep=True)
    folder = engine_folder(config)
    for sidecar in engines.sidecars:
        print(
            "{graph:<17} {precision}, {size:.1f} MB, TensorRT {tensorrt} on {gpu}".format(
                **sidecar["identity"], size=sidecar["size"] / 1e6
            )
        )
    files = list(folder.glob("*.engine"))
    total = sum(path.stat().st_size for path in files)
    print(f"kept in           {folder} ({len(files)} engines, {total / 1e6:.1f} MB)")
    return 0
