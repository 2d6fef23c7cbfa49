"""Frames from a video file or a folder of images, and single pictures, with clear errors.

source = open_source(Path("flight.mp4"))
for name, frame_bgr in source:
...
for problem in source.problems:
print(problem)
"""

from __future__ import annotations

import logging
import math
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Iterator, Union

import cv2
import numpy as np

from refdet_core.errors import SourceError
from refdet_core.imaging import PAD_BGR

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
ALPHA_SUFFIXES = (".png", ".webp")

FrameName = Union[int, str]
"""A video's 0-based frame index, or an image's file name."""

_LOG = logging.getLogger(__name__)


class FrameSource(ABC):
    """Frames in order, as ``(name, (H, W, 3) uint8 BGR)``. May be iterated more than once.

    Attributes:
        path: the video, folder or image.
        length: frames the source promises; a damaged source yields fewer.
        fps: frames per second, None when the source has no time (images).
        size: ``(width, height)`` of the first readable frame.
        problems: one sentence for each frame or stretch that could not be read in the last
            iteration. Each is logged as a warning too: a frame is never left out silently.
    """

    path: Path
    length: int
    fps: float | None = None
    size: tuple[int, int]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def __len__(self) -> int:
        return self.length

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[FrameName, np.ndarray]]:
        """Read from the start."""

    def _report(self, problem: str) -> None:
        self.problems.append(problem)
        _LOG.warning(problem)


class VideoSource(FrameSource):
    """A video file. Frames are named by their 0-based index, as the decoder returns them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        capture = self._open()
        try:
            readable, frame = capture.read()
            if not readable or frame is None:
                raise SourceError(
                    f"The video '{path}' has no frame that can be decoded; it is empty, damaged or "
                    "of a codec this OpenCV lacks."
                )
            # The container's count is what it promises; some streams do not say.
            self.length = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            rate = float(capture.get(cv2.CAP_PROP_FPS))
            self.fps = rate if math.isfinite(rate) and 0 < rate <= 1000 else None
            self.size = (frame.shape[1], frame.shape[0])
        finally:
            capture.release()

    def __iter__(self) -> Iterator[tuple[FrameName, np.ndarray]]:
        self.problems.clear()
        capture = self._open()
        count = 0
        try:
            while True:
                readable, frame = capture.read()
                if not readable or frame is None:
                    break
                yield count, _as_bgr8(frame)
                count += 1
        finally:
            capture.release()
        if count < self.length:
            self._report(
                f"The video '{self.path}' promises {self.length} frames but only {count} can be "
                "decoded; it is probably cut off or damaged."
            )

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise SourceError(
                "'{}' cannot be opened as a video: it is none, or damaged. Give a video file (mp4, "
                "avi, mkv ...), an image ({}) or a folder of images.".format(
                    self.path, " ".join(IMAGE_SUFFIXES)
                )
            )
        return capture


class ImagesSource(FrameSource):
    """Image files in natural order (``2.jpg`` before ``10.jpg``), named by their file name.

    A file that cannot be read is reported and left out: one bad image must not end the
    evaluation of a whole flight.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        super().__init__(path)
        self._files = files
        self.length = len(files)
        problems: list[str] = []
        for file in files:
            try:
                height, width = read_image(file).shape[:2]
            except SourceError as error:
                problems.append(str(error))
                continue
            self.size = (width, height)
            return
        if len(files) == 1:
            raise SourceError(problems[0])
        raise SourceError(
            f"None of the {len(files)} images in '{path}' can be read; the first: {problems[0]}"
        )

    def __iter__(self) -> Iterator[tuple[FrameName, np.ndarray]]:
        self.problems.clear()
        for file in self._files:
            try:
                frame = read_image(file)
            except SourceError as error:
                self._report(f"Left out: {error}")
                continue
            yield file.name, frame


def open_source(path: Path) -> FrameSource:
    """Open a video file, a folder of images, or one image.

    Raises:
        SourceError: it does not exist, is empty, or nothing in it can be decoded.
    """
    path = Path(path)
    if path.is_dir():
        files = [file for file in path.iterdir() if _is_image(file)]
        if not files:
            raise SourceError(
                "The folder '{}' has no images; expected files ending in {}.".format(
                    path, " ".join(IMAGE_SUFFIXES)
                )
            )
        return ImagesSource(path, sorted(files, key=lambda file: natural_key(file.name)))
    _check_file(path)
    # OpenCV would take "frame_0001.jpg" for the start of a numbered sequence.
    return ImagesSource(path, [path]) if _is_image(path) else VideoSource(path)


def read_image(path: Path) -> np.ndarray:
    """Read a picture as ``(H, W, 3)`` uint8 BGR, turned upright as its EXIF data says.

    Grey becomes three equal channels; 16-bit values are scaled to 8 bits; transparent parts of
    PNG and WebP show the grey that the network pads with.

    Raises:
        SourceError: missing, empty, not an image, or cut off.
    """
    path = Path(path)
    _check_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read: {error.strerror}.") from error
    # Decoders turn a cut-off JPEG into a picture with a grey lower part. An end marker after
    # the last start of scan is what tells a whole file.
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise SourceError(f"The JPEG '{path}' is cut off; copy it again.")
    alpha = path.suffix.lower() in ALPHA_SUFFIXES
    flags = cv2.IMREAD_UNCHANGED if alpha else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise SourceError(f"'{path}' cannot be decoded: {error.err}.") from error
    if image is None or not image.size:
        raise SourceError(f"'{path}' is not an image that OpenCV can decode, or it is damaged.")
    try:
        return _as_bgr8(image)
    except SourceError as error:
        raise SourceError(f"'{path}' cannot be used: {error}") from error


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that orders the numbers in names by value: ``2.jpg`` before ``10.jpg``."""
    parts = re.split(r"([0-9]+)", name)
    return [
        (0, int(part), part) if part.isdigit() else (1, 0, part.lower()) for part in parts if part
    ]


def _check_file(path: Path) -> None:
    if not path.exists():
        raise SourceError(f"'{path}' does not exist.")
    if not path.is_file():
        raise SourceError(f"'{path}' is not a file.")
    if path.stat().st_size == 0:
        raise SourceError(f"'{path}' is empty (0 bytes).")


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.is_file() and not hidden and path.suffix.lower() in IMAGE_SUFFIXES


def _as_bgr8(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint16:
        # As the node scales 16-bit camera images.
        image = cv2.convertScaleAbs(image, alpha=255 / 65535)
    elif image.dtype != np.uint8:
        raise SourceError(
            f"images of {image.dtype} values are not supported; save it with 8 or 16 bits."
        )
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.float32) / 255
        blended = image[:, :, :3] * alpha + np.array(PAD_BGR, dtype=np.float32) * (1 - alpha)
        return np.asarray(np.rint(blended).astype(np.uint8))
    return image
