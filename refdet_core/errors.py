"""What can go wrong, as sentences for the person at the keyboard.

Every error that a user's input can cause is a :class:`RefdetError`; a caller that wants
to stay alive (the ROS node, the command line) catches that one class.
"""

from __future__ import annotations


class RefdetError(Exception):
    """Base of all errors that say what was expected, what came and what to do."""


class BadReferenceError(RefdetError):
    """A reference photo or its ROI cannot be used."""


class BundleError(RefdetError):
    """A model bundle is missing, incomplete or of another version."""


class BackendError(RefdetError):
    """A backend is not installed here, or failed while opening or running."""


class OutOfMemoryError(BackendError):
    """The device has no memory left for what was asked; what was there before still works."""


class EngineRefusedError(BackendError):
    """An engine was built and does not compute what the graph says; the next would not either."""


class DeviceLostError(BackendError):
    """The device does not answer any more; the backend has to be closed and opened again."""


class ConfigError(RefdetError):
    """A setting has an unknown name or a value out of its range."""


class SourceError(RefdetError):
    """A video, folder or image cannot be read."""
