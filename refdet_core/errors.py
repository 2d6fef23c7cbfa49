"""The errors, with messages for the user.

Every error that a user's input can cause is a :class:`RefdetError`; a caller that must keep running
(the ROS node, the command line) catches that class.
"""

from __future__ import annotations


class RefdetError(Exception):
    """Base of all errors. The message says what was expected, what came and what to do."""


class BadReferenceError(RefdetError):
    """A reference photo or its ROI cannot be used."""


class BundleError(RefdetError):
    """A model bundle is missing, incomplete or has another version."""


class BackendError(RefdetError):
    """A backend is not installed here, or failed while opening or running."""


class OutOfMemoryError(BackendError):
    """The device has too little memory for a request; everything before it still works."""


class EngineRefusedError(BackendError):
    """A built engine's results differ from the graph's; building it again would not help."""


class DeviceLostError(BackendError):
    """The device no longer answers; the backend must be closed and opened again."""


class ConfigError(RefdetError):
    """A setting has an unknown name or a value out of its range."""


class SourceError(RefdetError):
    """A video, folder or image cannot be read."""
