"""PyTorch: the bundle's own network, for machines that have torch (and timm) but no TensorRT."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from refdet_core.backends.base import Backend, BackendInfo
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError
from refdet_core.types import RawMaps

try:
    import torch

    from refdet_core.model.siamese import Siamese, SiameseConfig
except ImportError as error:
    raise BackendError(
        f"The torch backend needs the packages torch, torchvision and timm ({error}); install "
        "requirements/training.txt or use the onnxruntime backend."
    ) from error


class TorchBackend(Backend["torch.Tensor"]):
    """The network in eager mode, on CUDA where there is one. Features are ``(V, C, k, k)`` tensors
    that stay on that device."""

    name = "torch"

    def __init__(self, model: Siamese, device: torch.device) -> None:
        self._model = model
        self._device = device

    @classmethod
    def open(cls, bundle: Bundle, config: BackendConfig = BackendConfig()) -> TorchBackend:
        cls.precision(config)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            state = torch.load(bundle.torch_weights, map_location=device, weights_only=True)
            model = Siamese(SiameseConfig(**bundle.model))
            model.load_state_dict(state)
        except (OSError, KeyError, TypeError, RuntimeError) as error:
            raise BackendError(
                f"The bundle '{bundle.folder}' has no weights this torch backend can load: {error}"
            ) from error
        return cls(model.eval().to(device), device)

    @property
    def info(self) -> BackendInfo:
        name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu"
        return BackendInfo(self.name, str(torch.__version__), name, "fp32")

    @torch.inference_mode()
    def encode_templates(self, images: np.ndarray) -> torch.Tensor:
        return self._model.encode_template(torch.from_numpy(images).to(self._device))

    def average(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean(dim=0, keepdim=True)

    def pack(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(list(features))

    @torch.inference_mode()
    def infer(self, frames: np.ndarray, features: torch.Tensor) -> RawMaps:
        score, box, presence = self._model(torch.from_numpy(frames).to(self._device), features)
        return RawMaps(score.cpu().numpy(), box.cpu().numpy(), presence.cpu().numpy())
