"""TensorRT: the backend for NVIDIA GPUs, above all the Jetson's.

Template features stay in device memory from the template encoder's output to the detector's input.
The searched part of a frame is uploaded as bytes and cut on the device. Scores, boxes and presence
come back.
"""

from __future__ import annotations

import logging
from typing import Dict, Sequence, Tuple, Union

import numpy as np

from refdet_core.backends.base import Backend, BackendInfo
from refdet_core.backends.config import BackendConfig
from refdet_core.backends.cuda import Gpu
from refdet_core.backends.device_buffer import DeviceBuffer, float32_size
from refdet_core.backends.engines.cache import Engines, ready_engines
from refdet_core.backends.engines.profiles import Shape
from refdet_core.backends.gpu_crops import DeviceCrops, GpuCropper
from refdet_core.backends.template_kernels import KernelStore, TemplateKernels
from refdet_core.backends.tensorrt_api import trt
from refdet_core.backends.tensorrt_engine import Engine
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError, DeviceLostError, OutOfMemoryError
from refdet_core.imaging import PAD_BGR, Crop
from refdet_core.types import RawMaps

_LOG = logging.getLogger(__name__)
_MAPS = ("score", "box", "presence")


class TensorRTBackend(Backend[TemplateKernels]):
    """Both graphs as TensorRT engines on the first GPU.

    Args:
        encoder, detector: engines of the bundle's two graphs.
    """

    name = "tensorrt"
    precisions = ("fp16", "fp32", "int8")

    def __init__(
        self, gpu: Gpu, encoder: Engine, detector: Engine, bundle: Bundle, precision: str
    ) -> None:
        _expect(encoder, ("image",), bundle.kernel_names)
        _expect(detector, ("frame", *bundle.kernel_names), _MAPS)
        self._gpu = gpu
        self._encoder = encoder
        self._detector = detector
        self._precision = precision
        largest = {name: detector.largest(name) for name in bundle.kernel_names}
        self._max_views = min(shape[0] for shape in largest.values())
        self._view_shapes = {name: shape[1:] for name, shape in largest.items()}
        view_sizes = {name: float32_size(shape) for name, shape in self._view_shapes.items()}
        self._store = KernelStore(gpu, view_sizes, self._max_views)
        self._cropper = GpuCropper(gpu)
        self._fixed_size = detector.fixed_size("frame")
        self._stride = bundle.stride
        self._images = DeviceBuffer(gpu)
        self._frames = DeviceBuffer(gpu)
        self._maps = {name: DeviceBuffer(gpu) for name in _MAPS}
        self._kernels = DeviceBuffer(gpu)

    @classmethod
    def open(cls, bundle: Bundle, config: BackendConfig = BackendConfig()) -> TensorRTBackend:
        precision = cls.precision(config)
        gpu = Gpu()
        try:
            with gpu.active():
                engines = ready_engines(bundle, config, precision)
                try:
                    encoder, detector = _load(gpu, engines, config.engine_dla)
                except (OutOfMemoryError, DeviceLostError):
                    raise
                except BackendError as error:
                    # Their identity matches, and yet TensorRT refuses them.
                    engines = ready_engines(bundle, config, precision, rebuild_because=str(error))
                    encoder, detector = _load(gpu, engines, config.engine_dla)
                # They never run at the same time.
                memory = gpu.allocate(max(encoder.memory_size, detector.memory_size))
                encoder.use_memory(memory)
                detector.use_memory(memory)
                backend = cls(gpu, encoder, detector, bundle, precision)
                backend._warm_up(bundle)
                free, total = (size >> 20 for size in gpu.memory)
        except BaseException:
            gpu.close()
            raise
        _LOG.info(
            "TensorRT %s runs in %s on %s, %d of its %d MB are free.",
            *(trt.__version__, precision, gpu.name, free, total),
        )
        return backend

    @property
    def info(self) -> BackendInfo:
        return BackendInfo(self.name, str(trt.__version__), self._gpu.name, self._precision)

    def encode_templates(self, images: np.ndarray) -> TemplateKernels:
        with self._gpu.active():
            most = self._encoder.most({"image": images.shape}, "image")
            kernels = self._store.pack(
                [self._encode(images[i : i + most]) for i in range(0, len(images), most)]
            )
            self._gpu.synchronize()  # raises a pending error here
            return kernels

    def average(self, features: TemplateKernels) -> TemplateKernels:
        with self._gpu.active():
            return self._store.average(features)

    def pack(self, features: Sequence[TemplateKernels]) -> TemplateKernels:
        with self._gpu.active():
            return self._store.pack(features)

    def as_array(self, features: TemplateKernels) -> np.ndarray:
        self._store.check(features)
        name, shape = next(iter(self._view_shapes.items()))
        shape = (features.views, *shape)
        size = float32_size(shape)
        with self._gpu.active():
            address = self._kernels.reserve(size)
            self._gpu.copy_on_device(address, features.addresses[name], size)
            kernels = self._kernels.download(shape)
            self._gpu.synchronize()
            return np.array(kernels)  # the next call overwrites the pinned memory

    def preprocess(
        self, frame_bgr: np.ndarray, crops: Sequence[Crop]
    ) -> Union[np.ndarray, DeviceCrops]:
        if self._fixed_size is not None:
            blob: np.ndarray = super().preprocess(frame_bgr, crops)  # to be padded in infer
            return blob
        with self._gpu.active():
            return self._cropper.upload(frame_bgr, crops)

    def infer(self, frames: Union[np.ndarray, DeviceCrops], features: TemplateKernels) -> RawMaps:
        if self._fixed_size is None or isinstance(frames, DeviceCrops):
            return self._infer(frames, features)
        height, width = frames.shape[2:]
        maps = self._infer(_padded(frames, self._fixed_size), features)
        rows, columns = round(height / self._stride), round(width / self._stride)
        return RawMaps(
            maps.score[..., :rows, :columns], maps.box[..., :rows, :columns], maps.presence
        )

    def _infer(self, frames: Union[np.ndarray, DeviceCrops], features: TemplateKernels) -> RawMaps:
        self._store.check(features)
        count = frames.shape[0]
        maps: Dict[str, np.ndarray] = {}
        with self._gpu.active():
            most = self._detector.most(self._shapes(frames.shape, features.views), "frame")
            most = -(-count // -(-count // most))  # equal batches: recordings are replayed
            for start in range(0, count, most):
                end = min(count, start + most)
                for name, values in self._detect(frames, start, end, features).items():
                    if name not in maps:
                        maps[name] = np.empty((count, *values.shape[1:]), np.float32)
                    maps[name][start:end] = values
        return RawMaps(**maps)

    def close(self) -> None:
        """Release engines, memory and stream. Closing twice or after the device was lost is
        harmless."""
        self._gpu.close()

    def _encode(self, images: np.ndarray) -> TemplateKernels:
        kernels = self._store.empty(len(images))
        outputs = self._encoder.prepare({"image": images.shape})
        for name, shape in self._view_shapes.items():
            if outputs[name][1:] != shape:
                raise BackendError(
                    f"The engines do not belong together: the template engine's {name} is "
                    f"{outputs[name][1:]}, the detector engine takes {shape}. Delete both."
                )
        self._encoder.enqueue({"image": self._images.upload(images), **kernels.addresses})
        return kernels

    def _detect(
        self,
        frames: Union[np.ndarray, DeviceCrops],
        start: int,
        end: int,
        features: TemplateKernels,
    ) -> Dict[str, np.ndarray]:
        """The maps of some frames, in pinned memory that the next run overwrites."""
        shape = (end - start, *frames.shape[1:])
        outputs = self._detector.prepare(self._shapes(shape, features.views))
        addresses = dict(features.addresses)
        if isinstance(frames, DeviceCrops):
            addresses["frame"] = self._frames.reserve(float32_size(shape))
            self._cropper.cut(frames, start, end, addresses["frame"])
        else:
            addresses["frame"] = self._frames.upload(frames[start:end])
        for name in _MAPS:
            # Room for the maximum number of views, so that another template allocates nothing.
            batch, _, *rest = outputs[name]
            size = float32_size((batch, self._max_views, *rest))
            addresses[name] = self._maps[name].reserve(size)
        self._detector.enqueue(addresses)
        maps = {name: self._maps[name].download(outputs[name]) for name in _MAPS}
        self._gpu.synchronize()
        return maps

    def _shapes(self, frames: Shape, views: int) -> Dict[str, Shape]:
        kernels = {name: (views, *shape) for name, shape in self._view_shapes.items()}
        return {"frame": frames, **kernels}

    def _warm_up(self, bundle: Bundle) -> None:
        """Run everything once in the usual shapes, so that the first frame is as fast as the
        others."""
        side = bundle.template_size
        kernels = self.encode_templates(np.zeros((1, 3, side, side), np.float32))
        for shapes in self._detector.usual:
            count, _, height, width = shapes["frame"]
            views = shapes[bundle.kernel_names[0]][0]
            blank = np.zeros((height, width, 3), np.uint8)
            crops = [Crop(0, 0, width, height, width, height)] * count
            self.infer(self.preprocess(blank, crops), self.pack([kernels] * views))


def _load(gpu: Gpu, engines: Engines, dla: int) -> Tuple[Engine, Engine]:
    """Template encoder and detector."""
    encoder = Engine(gpu, engines.template_encoder, "template", dla)
    try:
        return encoder, Engine(gpu, engines.detector, "detector", dla)
    except BackendError:
        encoder.free()  # a rebuild needs the memory
        raise


def _padded(frames: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Pad ``(B, 3, H, W)`` frames to ``(height, width)``, the frame in the top-left corner."""
    height, width = frames.shape[2:]
    if height > size[0] or width > size[1]:
        return frames  # the engine refuses it and names its own shapes
    padded = np.full((*frames.shape[:2], *size), PAD_BGR[0], np.float32)
    padded[:, :, :height, :width] = frames
    return padded


def _expect(engine: Engine, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    if set(engine.inputs) != set(inputs) or set(engine.outputs) != set(outputs):
        raise BackendError(
            "The {} engine does not fit the bundle: it goes from {} to {}, not from {} to {}. "
            "Delete it, so that it is built again.".format(
                engine.name,
                *(", ".join(names) for names in (engine.inputs, engine.outputs, inputs, outputs)),
            )
        )
