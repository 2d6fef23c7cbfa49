"""INT8 in TensorRT's two ways: a calibrator that feeds data, or Q/DQ nodes in the graph."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from refdet_core.backends.engines.cache_file import CacheFile
from refdet_core.backends.engines.graph import Feed, with_node_names
from refdet_core.backends.engines.progress import Progress
from refdet_core.errors import BackendError


class Calibrator:
    """Entropy calibration (Migacz, GTC 2017) for TensorRT 8 and 9.

    TensorRT swallows errors in its callbacks; :meth:`raise_error` raises them afterwards.

    Args:
        trt: the module ``tensorrt``.
        gpu: the current GPU, which holds the inputs while TensorRT reads them.
        feeds: inputs of one fixed shape.
        cache: stores the resulting ranges; if it has some, no data is read.

    Attributes:
        trt_calibrator: the object for the builder's configuration.
    """

    def __init__(
        self, trt: Any, gpu: Any, feeds: Iterator[Feed], cache: CacheFile, progress: Progress
    ) -> None:
        self._gpu = gpu
        self._feeds = feeds
        self._cache = cache
        self._progress = progress
        self._memory: Dict[str, Any] = {}
        self._count = 0
        self._error: Optional[BaseException] = None
        self.trt_calibrator = _trt_calibrator(trt, self)

    def raise_error(self) -> None:
        """Raise the error of a callback, if there was one."""
        if self._error is not None:
            raise BackendError(f"The int8 calibration failed: {self._error}") from self._error

    def next_addresses(self, names: Sequence[str]) -> Optional[List[int]]:
        """Device addresses of the next inputs in this order; None at the end."""
        try:
            feed = next(self._feeds, None)
            if feed is None or self._error is not None:
                return None
            self._count += 1
            self._progress.phase(f"calibrating, frame {self._count}")
            return [self._upload(name, feed[name]) for name in names]
        except Exception as error:  # exceptions must not reach TensorRT's C++
            self._error = error
            return None

    def read_cache(self) -> Optional[bytes]:
        """The ranges of an earlier calibration with the same data."""
        return self._cache.read() or None

    def write_cache(self, content: bytes) -> None:
        """Keep the ranges."""
        if self._error is None:
            self._cache.write(content)

    def _upload(self, name: str, array: np.ndarray) -> int:
        if name not in self._memory:
            self._memory[name] = (
                self._gpu.allocate_pinned(array.nbytes),
                self._gpu.allocate(array.nbytes),
            )
        pinned, device = self._memory[name]
        host = pinned.array(array.shape, array.dtype)
        host[...] = array
        self._gpu.copy_to_device(device.address, host)
        self._gpu.synchronize()
        return int(device.address)


def _trt_calibrator(trt: Any, owner: Calibrator) -> Any:
    class EntropyCalibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: Sequence[str]) -> Optional[List[int]]:
            return owner.next_addresses(names)

        def read_calibration_cache(self) -> Optional[bytes]:
            return owner.read_cache()

        def write_calibration_cache(self, cache: Any) -> None:
            owner.write_cache(bytes(cache))

    return EntropyCalibrator()


def with_q_dq(model: bytes, feeds: Iterator[Feed], unquantised: Sequence[str]) -> bytes:
    """The graph with Q/DQ nodes around its convolutions, symmetric as TensorRT requires.

    Args:
        feeds: inputs that determine the scales.
        unquantised: names of nodes to leave alone.

    Raises:
        BackendError: onnxruntime's quantization cannot be imported.
    """
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise BackendError(
            f"INT8 with TensorRT 10 needs onnxruntime and onnx: pip install onnxruntime onnx "
            f"({error})"
        ) from error

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Optional[Feed]:
            return next(feeds, None)

    with tempfile.TemporaryDirectory(prefix="refdet-") as folder:
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "quantised.onnx"
        plain.write_bytes(with_node_names(model))
        quantization.quantize_static(
            str(plain),
            str(quantised),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=list(unquantised),
            # Its entropy method uses as many bins as levels: the same result at a higher cost.
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,  # TensorRT adds the bias in floating point
            },
        )
        return quantised.read_bytes()
