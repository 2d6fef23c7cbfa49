"""Context management for objects with a ``close``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Optional, Type, TypeVar

Self = TypeVar("Self", bound="Closeable")


class Closeable(ABC):
    """An object that is closed at the end of its ``with`` block."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources. Closing twice is harmless."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
