"""Uploaded photos: checked before they are decoded, kept until they are used."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Dict, Tuple

from refdet_core.errors import BadReferenceError
from refdet_core.image_header import image_format, image_size
from refdet_ros.console.options import Limits


@dataclass(frozen=True)
class Upload:
    """A JPEG or PNG file and its size in pixels."""

    content: bytes
    format: str
    size: Tuple[int, int]


class Uploads:
    """The photos of all browsers; if there are too many, the oldest are dropped."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: OrderedDict[str, Upload] = OrderedDict()

    def add(self, content: bytes) -> Dict[str, object]:
        """Keep a photo; returns its id and size for the browser.

        Raises:
            BadReferenceError: it is no JPEG or PNG, or too large.
        """
        if len(content) > self._limits.upload_bytes:
            raise BadReferenceError(
                f"The photo has more than {self._limits.upload_bytes // 2**20} MB; make it smaller."
            )
        kind, size = image_format(content), image_size(content)
        if kind not in ("jpeg", "png") or size is None:
            raise BadReferenceError("The file is not a complete JPEG or PNG picture.")
        width, height = size
        if not width or not height or width * height > self._limits.upload_pixels:
            raise BadReferenceError(
                f"The photo has {width}x{height} pixels; at most "
                f"{self._limits.upload_pixels / 1e6:.0f} megapixels are taken."
            )
        name = secrets.token_urlsafe(12)
        self._kept[name] = Upload(content, kind, (width, height))
        total = self._limits.uploads * self._limits.browsers
        while len(self._kept) > total or self._bytes > 4 * self._limits.upload_bytes:
            self._kept.popitem(last=False)
        return {"picture": name, "width": width, "height": height}

    def get(self, name: str) -> Upload:
        """The photo with this id.

        Raises:
            BadReferenceError: it is not there any more.
        """
        upload = self._kept.get(name)
        if upload is None:
            raise BadReferenceError("The photo is not here any more; add it again.")
        return upload

    def forget(self, name: str) -> None:
        """Drop a photo that was used."""
        self._kept.pop(name, None)

    @property
    def _bytes(self) -> int:
        return sum(len(upload.content) for upload in self._kept.values())
