"""The settings of the backends."""

from __future__ import annotations

from dataclasses import dataclass

from refdet_core.errors import ConfigError

PRECISIONS = ("auto", "fp32", "fp16", "int8")


@dataclass(frozen=True)
class BackendConfig:
    """How a backend runs the graphs. Each backend reads the settings that concern it.

    Attributes:
        precision: ``fp32``, ``fp16``, ``int8``, or ``auto``: fp16 on a GPU, fp32 on a CPU.
        threads: CPU threads of onnxruntime; 0: one for each available physical core.
        engine_folder: folder for TensorRT engines; empty: ``refdet/engines`` in the user's cache
            folder.
        engine_workspace_mb: maximum memory TensorRT may use for one layer while it builds and runs.
        engine_max_views: maximum number of template views, all templates together.
        engine_max_tiles: maximum number of tiles per batch; more tiles run in several batches.
        engine_max_width, engine_max_height: largest tile or window in network pixels; the engine's
            memory grows with it.
        engine_calibration: folder of frames that calibrate an int8 engine, needed only to build
            one; empty: the newest int8 engine that fits.
        engine_dla: deep learning accelerator that runs the layers it supports, 0 or 1; -1: GPU
            only.
    """

    precision: str = "auto"
    threads: int = 0
    engine_folder: str = ""
    engine_workspace_mb: int = 1024
    engine_max_views: int = 20
    engine_max_tiles: int = 4
    engine_max_width: int = 1280
    engine_max_height: int = 736
    engine_calibration: str = ""
    engine_dla: int = -1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(
                "Unknown precision '{}'; valid are {}.".format(
                    self.precision, ", ".join(PRECISIONS)
                )
            )
        for name, least in (
            ("threads", 0),
            ("engine_workspace_mb", 16),
            ("engine_max_views", 1),
            ("engine_max_tiles", 1),
            ("engine_max_width", 64),
            ("engine_max_height", 64),
            ("engine_dla", -1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}.")
