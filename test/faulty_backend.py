"""ONNX Runtime on a device that fails on command, for tests of what the detector does then.

The commands are files in one folder, so that a test can give them to a node in another process:

- ``lost``: the device is away, as if unplugged. A backend that has met this stays broken, and none
  can be opened; one that is opened when the file is gone works.
- ``dead``: the process lost the device, as after most of CUDA's errors: it does not answer to any
  backend of this process any more, whether the file is still there or not.
- ``refused``: what is built when a backend is opened does not compute what it should.
- ``room``: holds the number of views there is memory for; with 0 the backend cannot be opened.
- ``slow``: opening takes until the file is gone.

Features belong to the backend that made them, like pointers into its memory.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import refdet_core.backends
from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.errors import (
    BackendError,
    DeviceLostError,
    EngineRefusedError,
    OutOfMemoryError,
)

AWAY = "There is no GPU: cudaErrorNoDevice (100)."
REFUSED = "The engine does not compute what the graph says."
LOST = "The GPU does not answer: cudaErrorLaunchFailure (719)."
FULL = "The GPU has no memory left for the templates; clear one."


@dataclass(frozen=True)
class OnDevice:
    """Kernels in the memory of one backend."""

    owner: Any
    kernels: tuple[np.ndarray, ...]


class FaultyBackend(OnnxRuntimeBackend):
    """See the module."""

    folder: ClassVar[Path]
    opened: ClassVar[list[FaultyBackend]] = []
    dead: ClassVar[bool] = False

    @classmethod
    def open(cls, bundle, config):
        if (cls.folder / "slow").exists():
            logging.getLogger("refdet_core.backends.engines.build").info("building the engines")
        while (cls.folder / "slow").exists():
            time.sleep(0.02)
        if cls._died():
            raise DeviceLostError(LOST)
        if (cls.folder / "lost").exists():
            raise BackendError(AWAY)
        if (cls.folder / "refused").exists():
            logging.getLogger("refdet_core.backends.engines.build").info("built for nothing")
            raise EngineRefusedError(REFUSED)
        if cls._room() == 0:
            raise OutOfMemoryError(FULL)
        backend = super().open(bundle, config)
        backend.broken = backend.closed = False
        cls.opened.append(backend)
        return backend

    def encode_templates(self, images):
        self._touch()
        return OnDevice(self, super().encode_templates(images))

    def average(self, features):
        return OnDevice(self, super().average(self._mine(features)))

    def pack(self, features):
        packed = super().pack([self._mine(some) for some in features])
        if len(packed[0]) > self._room():
            raise OutOfMemoryError(FULL)
        return OnDevice(self, packed)

    def as_array(self, features):
        return super().as_array(self._mine(features))

    def infer(self, frames, features):
        return super().infer(frames, self._mine(features))

    def close(self):
        self.closed = True

    @classmethod
    def _died(cls):
        cls.dead = cls.dead or (cls.folder / "dead").exists()
        return cls.dead

    @classmethod
    def _room(cls):
        file = cls.folder / "room"
        return int(file.read_text()) if file.exists() else 1000

    def _touch(self):
        assert not self.closed, "a closed backend is used"
        self.broken = self.broken or self._died() or (self.folder / "lost").exists()
        if self.broken:
            raise DeviceLostError(LOST)

    def _mine(self, features):
        self._touch()
        assert features.owner is self, "features of another device are used"
        return features.kernels


def install(folder):
    """Open it whenever ONNX Runtime is asked for; returns how it was before."""
    FaultyBackend.folder = Path(folder)
    FaultyBackend.opened = []
    FaultyBackend.dead = False
    before = dict(refdet_core.backends._CLASSES)
    refdet_core.backends._CLASSES["onnxruntime"] = ("faulty_backend", "FaultyBackend")
    return before


def run_node():
    """The node with this backend; the folder is in the environment."""
    from refdet_ros.__main__ import main

    install(os.environ["FAULTS"])
    return main()
