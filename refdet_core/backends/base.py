"""The contract of a backend.

A backend owns the two graphs of a bundle on one device. Template features are opaque to all other
code and stay on that device: :meth:`Backend.encode_templates` makes them, :meth:`Backend.pack`
joins them, and :meth:`Backend.infer` takes them back.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Sequence, Tuple, Type, TypeVar

import numpy as np

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.closeable import Closeable
from refdet_core.errors import BackendError
from refdet_core.imaging import Crop, extract, to_blob
from refdet_core.types import RawMaps

Features = TypeVar("Features")
BackendType = TypeVar("BackendType", bound="Backend[Any]")


@dataclass(frozen=True)
class BackendInfo:
    """What runs the network and where, for diagnostics and summaries."""

    name: str
    version: str
    device: str
    precision: str


class Backend(Closeable, Generic[Features]):
    """Runs a bundle. Open it with :meth:`open`, close it or use it as a context manager.

    Only the thread that opened it may call it, unless ``any_thread`` says otherwise.

    Attributes:
        name: the backend's name in settings.
        precisions: the supported precisions; ``auto`` takes the first.
        any_thread: whether other threads may run it, each a backend of its own at the same time.
    """

    name: ClassVar[str]
    precisions: ClassVar[Tuple[str, ...]] = ("fp32",)
    any_thread: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def open(cls: Type[BackendType], bundle: Bundle, config: BackendConfig) -> BackendType:
        """Load the bundle's graphs. The logger ``refdet_core`` reports slow steps.

        Raises:
            BackendError: the backend is not installed, or refuses the bundle or the settings.
        """

    @classmethod
    def precision(cls, config: BackendConfig) -> str:
        """The configured precision.

        Raises:
            BackendError: this backend does not support it.
        """
        if config.precision == "auto":
            return cls.precisions[0]
        if config.precision not in cls.precisions:
            raise BackendError(
                "The {} backend runs in {}, not in {}: fp16 and int8 need a GPU.".format(
                    cls.name, " or ".join(cls.precisions), config.precision
                )
            )
        return config.precision

    @property
    @abstractmethod
    def info(self) -> BackendInfo:
        """Name, version, device and precision."""

    @abstractmethod
    def encode_templates(self, images: np.ndarray) -> Features:
        """Encode ``(N, 3, Ht, Wt)`` float32 RGB 0-255 template crops into N views."""

    @abstractmethod
    def average(self, features: Features) -> Features:
        """The prototype of N views: their mean kernel, one view."""

    @abstractmethod
    def pack(self, features: Sequence[Features]) -> Features:
        """Join several features into one, views in the given order."""

    @abstractmethod
    def as_array(self, features: Features) -> np.ndarray:
        """The first kernel of each view on the host, ``(V, C, kh, kw)`` float32."""

    @abstractmethod
    def infer(self, frames: Any, features: Features) -> RawMaps:
        """Run the detector graph on ``(B, 3, H, W)`` float32 RGB 0-255 crops and V views.

        Args:
            frames: an array, or what :meth:`preprocess` of the same backend returned.
        """

    def preprocess(self, frame_bgr: np.ndarray, crops: Sequence[Crop]) -> Any:
        """Cut crops that share one size out of a ``(H, W, 3)`` uint8 frame, for :meth:`infer`.

        Returns:
            An array ``(B, 3, H, W)``, or the backend's equivalent on its device.
        """
        return to_blob([extract(frame_bgr, crop) for crop in crops])

    def close(self) -> None:
        """Release the device. Closing twice is harmless."""
