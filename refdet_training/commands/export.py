"""``refdet-train export``: makes a bundle from a checkpoint, or checks one for TensorRT 8.4."""

from __future__ import annotations

import argparse
from pathlib import Path

from refdet_core.bundle import Bundle
from refdet_core.errors import BundleError, ConfigError

_FOR_EXPORT = ("checkpoint", "output", "name", "version")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--checkpoint", type=Path, help="of refdet-train fit")
    parser.add_argument("--output", type=Path, metavar="BUNDLE", help="folder to write")
    parser.add_argument("--name", help="of the released model")
    parser.add_argument("--version", help="of the released model")
    parser.add_argument(
        "--allow-unsupported",
        action="store_true",
        help="export (with a warning) although TensorRT 8.4 would not take the graphs",
    )
    parser.add_argument(
        "--check-only",
        type=Path,
        metavar="BUNDLE",
        help="write nothing; check the files and operators of this bundle (or one .onnx file)",
    )


def run(options: argparse.Namespace) -> None:
    """Export or check.

    Raises:
        ConfigError: options are missing, or options of both are given.
        BundleError: the bundle is damaged, or TensorRT 8.4 would not take it.
    """
    given = [name for name in _FOR_EXPORT if getattr(options, name) is not None]
    if options.check_only is not None:
        if given:
            raise ConfigError(f"--check-only writes nothing; omit --{', --'.join(given)}.")
        _check(options.check_only)
    elif len(given) < len(_FOR_EXPORT):
        missing = [name for name in _FOR_EXPORT if name not in given]
        raise ConfigError(f"export needs --{', --'.join(missing)} (or --check-only BUNDLE).")
    else:
        _export(options)


def export(
    checkpoint: Path, output: Path, name: str, version: str, allow_unsupported: bool = False
) -> Bundle:
    """A checkpoint to a bundle."""
    from refdet_core.bundle import file_sha256
    from refdet_core.calibration import Calibration
    from refdet_training.checkpoints import load_checkpoint, template_crop_of, tracking_rule_of
    from refdet_training.export import export_bundle, publish

    model, training = load_checkpoint(checkpoint)
    fitted = training.pop("calibration", None)
    bundle = export_bundle(
        model,
        output,
        name,
        version,
        template_crop_of(training),
        tracking_rule_of(training),
        training.get("placement"),
        {**training, "checkpoint_sha256": file_sha256(checkpoint)},
        allow_unsupported,
    )
    if fitted is None:
        return bundle
    scores = {key: value for key, value in fitted.items() if key != "calibration"}
    calibration = Calibration(**fitted["calibration"])
    return publish(bundle, calibration, training["score_threshold"], {"tune": scores})


def _export(options: argparse.Namespace) -> None:
    from refdet_training.export import check_bundle

    bundle = export(
        options.checkpoint,
        options.output,
        options.name,
        options.version,
        options.allow_unsupported,
    )
    if options.allow_unsupported:
        for finding in check_bundle(bundle):
            print(f"warning: {finding}")
    print(f"bundle: {bundle.folder}")


def _check(path: Path) -> None:
    from refdet_core.bundle import load_bundle
    from refdet_training.export import check_bundle, check_graph
    from refdet_training.export.operators import refusal

    if path.suffix == ".onnx":
        findings = check_graph(path)
    else:
        findings = check_bundle(load_bundle(path, verify=True))
    if findings:
        raise BundleError(refusal(findings))
    print(f"{path}: nothing known that TensorRT 8.4 would not take")
