"""A pool of device memory.

A :class:`Block` owns its memory until its last reference is gone, on any thread; then the pool
reuses the memory. So neither a frame nor a template change allocates or frees memory, and the
garbage collector never calls CUDA.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List

from refdet_core.backends.cuda import DeviceMemory, Gpu


class Block:
    """Memory from a pool, while this object lives."""

    def __init__(self, memory: DeviceMemory, returned: Deque[DeviceMemory]) -> None:
        self.address = memory.address
        self.size = memory.size
        self._memory = memory
        self._returned = returned

    def __del__(self) -> None:
        self._returned.append(self._memory)  # safe on any thread


class DevicePool:
    """Hands out memory in sizes of powers of two, so that returned blocks fit again.

    All work runs on the GPU's one stream, so a returned block may be handed out while earlier work
    still reads it.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._returned: Deque[DeviceMemory] = deque()
        self._free: Dict[int, List[DeviceMemory]] = {}

    def take(self, size: int) -> Block:
        """A block of at least ``size`` bytes.

        Raises:
            pycuda's errors, see :meth:`Gpu.active`.
        """
        self._collect()
        size = 1 << max(8, (size - 1).bit_length())
        free = self._free.get(size)
        memory = free.pop() if free else self._gpu.allocate(size)
        return Block(memory, self._returned)

    def _collect(self) -> None:
        while self._returned:
            memory = self._returned.popleft()
            self._free.setdefault(memory.size, []).append(memory)
