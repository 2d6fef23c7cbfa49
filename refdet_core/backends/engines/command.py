"""The command ``refdet engine build``: builds what the TensorRT backend builds when it opens."""

from __future__ import annotations

import argparse
from pathlib import Path

from refdet_core.attribute_docs import attribute_docs
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.stderr_log import log_to_stderr

PRECISIONS = ("fp16", "fp32", "int8")


# Option, setting of BackendConfig, metavar. Help and default are the setting's own.
_SETTINGS = (
    ("--calibration", "engine_calibration", "DIR"),
    ("--workspace-mb", "engine_workspace_mb", "MB"),
    ("--engine-folder", "engine_folder", "DIR"),
    ("--max-views", "engine_max_views", "N"),
    ("--max-tiles", "engine_max_tiles", "N"),
    ("--max-width", "engine_max_width", "PX"),
    ("--max-height", "engine_max_height", "PX"),
)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``refdet engine``."""
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser(
        "build",
        help="build the TensorRT engines of a bundle for this machine",
        description="Build the TensorRT engines of a model bundle for this machine and compare "
        "them with ONNX Runtime. This takes minutes. Engines that exist are kept.",
    )
    build.add_argument(
        "--bundle", type=Path, metavar="DIR", help="model bundle (default: the released one)"
    )
    build.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="int8 needs --calibration (default: %(default)s)",
    )
    defaults, docs = BackendConfig(), attribute_docs(BackendConfig)
    for option, setting, metavar in _SETTINGS:
        default = getattr(defaults, setting)
        build.add_argument(
            option,
            dest=setting,
            type=type(default),
            default=default,
            metavar=metavar,
            help=docs[setting].replace("%", "%%")
            + ("" if default == "" else " Default: %(default)s."),
        )
    build.add_argument(
        "--dla",
        dest="engine_dla",
        type=int,
        nargs="?",
        const=0,
        default=defaults.engine_dla,
        metavar="CORE",
        help="run layers on this deep learning accelerator where possible (without a number: 0); "
        "the engine then takes one frame of exactly --max-width x --max-height",
    )
    build.add_argument("--force", action="store_true", help="also rebuild engines that exist")


def engine(options: argparse.Namespace) -> int:
    """``refdet engine build``.

    Raises:
        RefdetError: the engines cannot be built.
    """
    from refdet_core.backends.engines.cache import engine_folder, ready_engines

    settings = ("precision", "engine_dla", *(setting for _, setting, _ in _SETTINGS))
    config = BackendConfig(**{name: getattr(options, name) for name in settings})
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
