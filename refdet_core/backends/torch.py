"""PyTorch: the bundle's own network, for machines that have torch (and timm) but no TensorRT."""

from __future__ import annotations

import contextlib
from typing import ContextManager, Iterator, Sequence, Tuple

import numpy as np

from refdet_core.backends.base import Backend, BackendInfo
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError, DeviceLostError, OutOfMemoryError
from refdet_core.types import RawMaps

try:
    import torch

    from refdet_core.backends.torch_graphs import Replayed
    from refdet_core.model.joined import Network, make_network
except ImportError as error:
    raise BackendError(
        f"The torch backend needs the packages torch, torchvision and timm ({error}); install "
        "requirements/training.txt or use the onnxruntime backend."
    ) from error

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Parts of the error messages of PyTorch, cuBLAS and cuDNN.
_NO_MEMORY = ("out of memory", "ALLOC_FAILED")
_NO_DEVICE = ("CUDA error", "cuDNN error", "CUBLAS_STATUS")


class TorchBackend(Backend["torch.Tensor"]):
    """The network on CUDA if available, else on the CPU.

    Features are float32 tensors ``(V, C, S k, k)`` that stay on the device. On CUDA the weights are
    channels-last, and from the second run of a shape on a CUDA graph replays it.

    Args:
        precision: ``fp32``, or ``fp16``: convolutions and matrix products in half precision;
            probabilities, boxes and the operations that autocast considers unsafe in float32.
    """

    name = "torch"
    precisions = ("fp16", "fp32") if DEVICE.type == "cuda" else ("fp32",)

    def __init__(self, model: Network, device: torch.device, precision: str) -> None:
        self._on_gpu = device.type == "cuda"
        self._model = model.to(device)
        if self._on_gpu:
            self._model = self._model.to(memory_format=torch.channels_last)
        self._device = device
        self._precision = precision
        self._replayed = Replayed(self._detect, device) if self._on_gpu else None

    @classmethod
    def open(cls, bundle: Bundle, config: BackendConfig = BackendConfig()) -> TorchBackend:
        precision = cls.precision(config)
        model = load_network(bundle)
        with device_errors("load the network"):
            return cls(model, DEVICE, precision)

    @property
    def info(self) -> BackendInfo:
        name = torch.cuda.get_device_name(self._device) if self._on_gpu else "cpu"
        return BackendInfo(self.name, str(torch.__version__), name, self._precision)

    @torch.inference_mode()
    def encode_templates(self, images: np.ndarray) -> torch.Tensor:
        with device_errors("encode the references"), self._arithmetic():
            crops = self._laid_out(torch.from_numpy(images).to(self._device))
            return self._model.encode_template(crops).float()

    @torch.inference_mode()
    def average(self, features: torch.Tensor) -> torch.Tensor:
        with device_errors("average the references"):
            return features.mean(dim=0, keepdim=True)

    @torch.inference_mode()
    def pack(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        with device_errors("hold the templates"):
            return torch.cat(list(features))

    @torch.inference_mode()
    def as_array(self, features: torch.Tensor) -> np.ndarray:
        with device_errors("read the templates"):
            return features.cpu().numpy()

    @torch.inference_mode()
    def infer(self, frames: np.ndarray, features: torch.Tensor) -> RawMaps:
        with device_errors("search the frame"):
            if self._replayed is not None:
                outputs = self._replayed(frames, features)
            else:
                outputs = self._detect(torch.from_numpy(frames).to(self._device), features)
            score, box, presence = (output.cpu().numpy() for output in outputs)
            return RawMaps(score, box, presence)

    def close(self) -> None:
        if self._replayed is not None:
            self._replayed.clear()
            with contextlib.suppress(RuntimeError):  # the device may be lost
                torch.cuda.empty_cache()

    def _detect(self, frames: torch.Tensor, kernels: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        """The detector graph: ``Siamese.forward`` with the right precision for each part."""
        with self._arithmetic():
            features = self._model.encode_frame(self._laid_out(frames))
            # The matcher squares and sums them, which overflows float16.
            output = self._model.match(features.float(), kernels)
        # float16 has steps of a pixel beyond 1024.
        return self._model.decode(output.float())

    def _laid_out(self, images: torch.Tensor) -> torch.Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self._on_gpu else images

    def _arithmetic(self) -> ContextManager[None]:
        if self._precision == "fp16":
            # No cache of converted weights: a graph would keep using them after the cache is
            # emptied.
            return torch.autocast(self._device.type, dtype=torch.float16, cache_enabled=False)
        if self._on_gpu:
            # By default cuDNN rounds the inputs of convolutions to TF32.
            return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        return contextlib.nullcontext()


def load_network(bundle: Bundle) -> Network:
    """The bundle's network on the CPU, for inference.

    Raises:
        BackendError: the bundle has no weights, or they do not fit.
    """
    try:
        state = torch.load(bundle.torch_weights, map_location="cpu", weights_only=True)
        model = make_network(bundle.model)
        model.load_state_dict(state)
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise BackendError(
            f"The bundle '{bundle.folder}' has no weights this torch backend can load: {error}"
        ) from error
    return model.eval()


@contextlib.contextmanager
def device_errors(task: str) -> Iterator[None]:
    """Turn PyTorch's GPU errors into clear ones; other errors pass.

    Args:
        task: what the GPU should do, completes "cannot ...".

    Raises:
        OutOfMemoryError: the GPU has too little memory.
        DeviceLostError: the GPU failed.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        if isinstance(error, torch.cuda.OutOfMemoryError) or any(it in reason for it in _NO_MEMORY):
            raise OutOfMemoryError(
                f"The GPU has no memory left to {task}: {reason} Use fewer references or smaller "
                "tiles, or end other programs that use the GPU."
            ) from error
        if any(it in reason for it in _NO_DEVICE):
            raise DeviceLostError(
                f"The GPU failed and cannot {task}: {reason}; if it does not come back, restart "
                "this program."
            ) from error
        raise
