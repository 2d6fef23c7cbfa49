"""ONNX Runtime: the backend for machines without TensorRT."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np

from refdet_core.backends.base import Backend, BackendInfo
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError
from refdet_core.types import RawMaps

try:
    import onnxruntime
except ImportError as error:
    raise BackendError(
        "The onnxruntime backend needs the package onnxruntime: pip install onnxruntime"
    ) from error

Kernels = Tuple[np.ndarray, ...]

_OUTPUTS = ["score", "box", "presence"]
_PIXELS_AT_ONCE = 1 << 18
"""Maximum pixels of all crops in one run. With more, each crop takes a tenth longer, because the
activations no longer fit into the processor's caches, and a large tile takes 150 MB."""


class OnnxRuntimeBackend(Backend[Kernels]):
    """Both graphs in ONNX Runtime sessions on the CPU. Features are plain arrays."""

    name = "onnxruntime"
    any_thread = True

    def __init__(
        self,
        template_encoder: onnxruntime.InferenceSession,
        detector: onnxruntime.InferenceSession,
        bundle: Bundle,
    ) -> None:
        self._template_encoder = template_encoder
        self._detector = detector
        self._kernel_names = list(bundle.kernel_names)

    @classmethod
    def open(cls, bundle: Bundle, config: BackendConfig = BackendConfig()) -> OnnxRuntimeBackend:
        cls.precision(config)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads or usable_cores()
        # Spinning threads would load the cores between two camera frames, and if another process
        # needs a core, a run takes up to twice as long.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        sessions: List[onnxruntime.InferenceSession] = []
        for graph in (bundle.template_graph, bundle.detector_graph):
            try:
                sessions.append(
                    onnxruntime.InferenceSession(
                        str(graph), options, providers=["CPUExecutionProvider"]
                    )
                )
            except Exception as error:  # onnxruntime's own exceptions share no base class
                raise BackendError(f"ONNX Runtime refuses {graph}: {error}") from error
        return cls(sessions[0], sessions[1], bundle)

    @property
    def info(self) -> BackendInfo:
        return BackendInfo(self.name, onnxruntime.__version__, "cpu", "fp32")

    def encode_templates(self, images: np.ndarray) -> Kernels:
        return tuple(self._template_encoder.run(self._kernel_names, {"image": images}))

    def average(self, features: Kernels) -> Kernels:
        return tuple(kernel.mean(axis=0, keepdims=True) for kernel in features)

    def pack(self, features: Sequence[Kernels]) -> Kernels:
        return tuple(np.concatenate(kernels) for kernels in zip(*features))

    def as_array(self, features: Kernels) -> np.ndarray:
        return features[0]

    def infer(self, frames: np.ndarray, features: Kernels) -> RawMaps:
        kernels = dict(zip(self._kernel_names, features))
        at_once = max(1, _PIXELS_AT_ONCE // (frames.shape[2] * frames.shape[3]))
        parts = [
            self._detector.run(_OUTPUTS, dict(kernels, frame=frames[start : start + at_once]))
            for start in range(0, len(frames), at_once)
        ]
        return RawMaps(
            *(part[0] if len(part) == 1 else np.concatenate(part) for part in zip(*parts))
        )


def usable_cores(topology: Path = Path("/sys/devices/system/cpu")) -> int:
    """Physical cores that this process may use: a container may have fewer than the machine, and
    two threads on one core only slow each other down.

    Args:
        topology: the folder in which Linux describes its processors.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.add(siblings.read_text().strip() if siblings.is_file() else str(cpu))
    return len(cores)
