"""Device memory that is used again and again.

Whoever holds a :class:`Block` has its memory; when the last reference is gone, on whatever
thread, the memory is there for the next. So nothing is allocated or freed from frame to frame, nor
when a template is exchanged, and no CUDA call is ever made by the garbage collector.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List

from refdet_core.backends.cuda import DeviceMemory, Gpu


class Block:
    """Memory from a pool, for as long as this object lives."""

    def __init__(self, memory: DeviceMemory, returned: Deque[DeviceMemory]) -> None:
        self.address = memory.address
        self.size = memory.size
        self._memory = memory
        self._returned = returned

    def __del__(self) -> None:
        self._returned.append(self._memory)  # the one thing a deque does safely on any thread


class DevicePool:
    """Hands out memory in sizes of powers of two, so that what came back fits again.

    All work on the memory is on the GPU's one stream, so memory that came back may be handed out
    while earlier work still reads it.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._returned: Deque[DeviceMemory] = deque()
        self._free: Dict[int, List[DeviceMemory]] = {}

    def take(self, size: int) -> Block:
        """At least ``size`` bytes.

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
