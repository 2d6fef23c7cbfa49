"""Template features on the GPU: the kernels of some views in device memory."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Mapping, Sequence, Tuple

from refdet_core.backends.cuda import Gpu
from refdet_core.backends.device_pool import Block, DevicePool
from refdet_core.errors import BackendError

_SOURCE = Path(__file__).with_name("mean_views.cu")
_ALIGNMENT = 256  # of everything TensorRT reads
_THREADS = 256


class TemplateKernels:
    """The kernels of ``views`` template views on the device. They never change.

    Attributes:
        views: number of views.
        addresses: by kernel name, the device address of its ``(views, C, kh, kw)`` float32.
        store: the store that made it.
    """

    def __init__(
        self, views: int, addresses: Mapping[str, int], store: KernelStore, block: Block
    ) -> None:
        self.views = views
        self.addresses = dict(addresses)
        self.store = store
        self._block = block


class KernelStore:
    """Makes :class:`TemplateKernels`, averages and joins them, all on the device.

    Args:
        view_sizes: by kernel name, bytes of one view.
        max_views: maximum number of views that the detector takes.
    """

    def __init__(self, gpu: Gpu, view_sizes: Mapping[str, int], max_views: int) -> None:
        self._gpu = gpu
        self._pool = DevicePool(gpu)
        self._view_sizes = dict(view_sizes)
        self._max_views = max_views
        self._mean = gpu.compile(_SOURCE, "mean_views", "PPii")
        # Room for a full bank and its successor, so that a template change allocates nothing.
        reserved = [self.empty(max_views) for _ in range(2)]
        del reserved

    def empty(self, views: int) -> TemplateKernels:
        """Kernels without content.

        Raises:
            BackendError: more views than the detector takes.
        """
        if views > self._max_views:
            raise BackendError(
                f"{views} template views are more than the {self._max_views} that the engines "
                "were built for. Look for fewer templates or give fewer references, or raise "
                "engine_max_views and let the engines be built again."
            )
        starts, size = self._layout(views)
        block = self._pool.take(size)
        addresses = {name: block.address + start for name, start in starts.items()}
        return TemplateKernels(views, addresses, self, block)

    def check(self, kernels: TemplateKernels) -> None:
        """Refuse kernels of another store, whose memory may be gone.

        Raises:
            BackendError: another store made them.
        """
        if kernels.store is not self:
            raise BackendError(
                "These template features were made by another backend, or by this one before it "
                "was opened again; encode the references again."
            )

    def average(self, kernels: TemplateKernels) -> TemplateKernels:
        """The mean of the views, as one view."""
        self.check(kernels)
        if kernels.views == 1:
            return kernels
        mean = self.empty(1)
        for name, size in self._view_sizes.items():
            count = size // 4
            self._mean.launch(
                (-(-count // _THREADS), 1, 1),
                (_THREADS, 1, 1),
                kernels.addresses[name],
                mean.addresses[name],
                kernels.views,
                count,
            )
        return mean

    def pack(self, parts: Sequence[TemplateKernels]) -> TemplateKernels:
        """All views of the parts, in their order."""
        for part in parts:
            self.check(part)
        if len(parts) == 1:
            return parts[0]
        packed = self.empty(sum(part.views for part in parts))
        for name, size in self._view_sizes.items():
            target = packed.addresses[name]
            for part in parts:
                self._gpu.copy_on_device(target, part.addresses[name], part.views * size)
                target += part.views * size
        return packed

    def _layout(self, views: int) -> Tuple[Dict[str, int], int]:
        """The offset of each kernel name, and the total size."""
        starts: Dict[str, int] = {}
        end = 0
        for name, size in self._view_sizes.items():
            starts[name] = end
            end += -(-views * size // _ALIGNMENT) * _ALIGNMENT
        return starts, end
