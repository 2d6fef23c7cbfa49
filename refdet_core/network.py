"""A bundle's network on its backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refdet_core.backends import open_backend
from refdet_core.backends.base import Backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle, check_camera


@dataclass(frozen=True)
class Network:
    """What it takes to run a bundle.

    Attributes:
        bundle: its description.
        backend: the open backend.
        config: how it was opened.
        follows: whether it says where a followed target is, beside the network that searches.
    """

    bundle: Bundle
    backend: Backend[Any]
    config: BackendConfig = BackendConfig()
    follows: bool = False

    @staticmethod
    def open(bundle: Bundle, backend: str, config: BackendConfig, follows: bool = False) -> Network:
        """Open a bundle on the backend of this name.

        Raises:
            BackendError: the backend is not installed, or refuses the bundle.
            BundleError: the network takes more than a camera gives.
        """
        check_camera(bundle)
        return Network(bundle, open_backend(backend, bundle, config), config, follows)

    def reopened(self) -> Network:
        """The same network on its backend opened again, after that was closed.

        By the backend's own name: ``auto`` would quietly go on without a GPU that was lost.
        """
        return Network.open(self.bundle, self.backend.name, self.config, self.follows)
