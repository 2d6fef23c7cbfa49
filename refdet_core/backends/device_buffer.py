"""Device memory for one input or output; it grows to the largest size needed."""

from __future__ import annotations

from typing import Optional, Sequence

import numpy as np

from refdet_core.backends.cuda import DeviceMemory, Gpu, PinnedMemory


def float32_size(shape: Sequence[int]) -> int:
    """Bytes of an array of this shape."""
    return 4 * int(np.prod(shape, dtype=np.int64))


class DeviceBuffer:
    """Device memory that grows, with pinned host memory for copies. Call it within
    :meth:`Gpu.active`.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._device: Optional[DeviceMemory] = None
        self._pinned: Optional[PinnedMemory] = None

    def reserve(self, size: int) -> int:
        """Make room for this many bytes; returns the address. Growing loses the content."""
        if self._device is None or self._device.size < size:
            if self._device is not None:
                grown, self._device = self._device, None
                self._gpu.free(grown)
            self._device = self._gpu.allocate(size)
        return self._device.address

    def upload(self, array: np.ndarray) -> int:
        """Queue a copy of float32 values to the device; returns the address. The array may be
        overwritten after the call."""
        address = self.reserve(float32_size(array.shape))
        self._gpu.synchronize()  # a previous copy may still read the pinned memory
        pinned = self._pinned_array(array.shape)
        pinned[...] = array
        self._gpu.copy_to_device(address, pinned)
        return address

    def download(self, shape: Sequence[int]) -> np.ndarray:
        """Queue a copy of float32 values to the host. They are valid after :meth:`Gpu.synchronize`
        until the next call."""
        assert self._device is not None
        pinned = self._pinned_array(shape)
        self._gpu.copy_to_host(pinned, self._device.address)
        return pinned

    def _pinned_array(self, shape: Sequence[int]) -> np.ndarray:
        assert self._device is not None
        if self._pinned is None or self._pinned.size < self._device.size:
            if self._pinned is not None:
                grown, self._pinned = self._pinned, None
                self._gpu.free(grown)
            self._pinned = self._gpu.allocate_pinned(self._device.size)
        return self._pinned.array(shape, np.float32)
