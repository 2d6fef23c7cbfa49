"""CUDA graphs: record a network's hundreds of kernels once, then launch them as one.

Written against PyTorch's documented API ("CUDA semantics", section on CUDA graphs).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Callable, Set, Tuple

import numpy as np
import torch
from torch import Tensor

MOST_RECORDINGS = 8
"""Each holds its own device memory. A flight needs about three: tiles, windows, references."""
_LOG = logging.getLogger(__name__)

Outputs = Tuple[Tensor, ...]
Network = Callable[[Tensor, Tensor], Outputs]
Replay = Callable[[np.ndarray, Tensor], Outputs]
Shapes = Tuple[Tuple[int, ...], Tuple[int, ...]]


class Recording:
    """A network recorded at one shape of its inputs.

    The outputs are the same tensors every time: copy them before the next call. The copy also
    waits for the upload, so that the next call may overwrite the pinned memory.

    Args:
        network: maps (frames, kernels) on the device to tensors on the device.
        frames, kernels: on the device; the recording is for their shapes.
    """

    def __init__(self, network: Network, frames: Tensor, kernels: Tensor) -> None:
        self._pinned = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
        self._frames, self._kernels = frames.clone(), kernels.clone()
        # The first run selects algorithms, which must not happen while recording. The API requires
        # a stream other than the default one.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            network(self._frames, self._kernels)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = network(self._frames, self._kernels)

    def __call__(self, frames: np.ndarray, kernels: Tensor) -> Outputs:
        self._pinned.copy_(torch.from_numpy(frames))
        self._frames.copy_(self._pinned, non_blocking=True)
        self._kernels.copy_(kernels)
        self._graph.replay()
        return self._outputs


class Replayed:
    """A network that is recorded for each shape that occurs a second time.

    Not the first time: a new number of references would be recorded for a single frame. If
    recording fails, for example for lack of memory, the network runs without it.

    Args:
        network: see :class:`Recording`.
        device: the device that runs it.
        record: makes a recording.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        record: Callable[[Network, Tensor, Tensor], Replay] = Recording,
    ) -> None:
        self._network = network
        self._device = device
        self._record = record
        self._records = True
        self._seen: Set[Shapes] = set()
        self._recordings: OrderedDict[Shapes, Replay] = OrderedDict()

    def __call__(self, frames: np.ndarray, kernels: Tensor) -> Outputs:
        """Run it on frames from the host and kernels on the device."""
        shapes = tuple(frames.shape), tuple(kernels.shape)
        if shapes in self._seen and shapes not in self._recordings and self._records:
            self._try_to_record(shapes, frames, kernels)
        self._seen.add(shapes)
        if shapes in self._recordings:
            self._recordings.move_to_end(shapes)
            return self._recordings[shapes](frames, kernels)
        return self._network(self._uploaded(frames), kernels)

    def clear(self) -> None:
        """Release the recordings' memory."""
        self._recordings.clear()

    def _try_to_record(self, shapes: Shapes, frames: np.ndarray, kernels: Tensor) -> None:
        while len(self._recordings) >= MOST_RECORDINGS:
            self._recordings.popitem(last=False)
        try:
            self._recordings[shapes] = self._record(self._network, self._uploaded(frames), kernels)
        except RuntimeError as error:
            self._records = False
            self._recordings.clear()
            _LOG.warning("The torch backend continues without CUDA graphs: %s", error)

    def _uploaded(self, frames: np.ndarray) -> Tensor:
        return torch.from_numpy(frames).to(self._device)
