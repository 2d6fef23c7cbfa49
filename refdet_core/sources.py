"""Frames from a video, a folder of images, a TIFF file of many pages or a single picture.

source = open_source(Path("flight.mp4"))
for frame in source:
...
for problem in source.problems:
print(problem)
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import cv2
import numpy as np

from refdet_core.contrast import Contrast
from refdet_core.errors import SourceError
from refdet_core.image_files import (
    IMAGE_SUFFIXES,
    check_file,
    page_name,
    pages_of,
    read_image,
    read_page,
)
from refdet_core.tiff_pages import TiffPages
from refdet_core.video import (
    Frame,
    FrameName,
    frame_rate,
    is_raw_stream,
    presentation_ns,
    read_deep_grey,
    read_frames,
)

_LOG = logging.getLogger(__name__)


class FrameSource(ABC):
    """Frames in order. May be iterated more than once.

    Attributes:
        path: the video, folder or image.
        length: number of frames according to the source; a damaged source yields fewer.
        fps: nominal frames per second, None when the source has no time (images).
        size: ``(width, height)`` of the first readable frame.
        problems: one sentence for each frame or stretch that could not be read as it is in the
            last iteration. Each is logged as a warning too: a frame is never left out silently.
    """

    path: Path
    length: int
    fps: float | None = None
    size: tuple[int, int]

    def __init__(self, path: Path, contrast: Contrast) -> None:
        self.path = path
        self.problems: list[str] = []
        self._contrast = contrast

    def __len__(self) -> int:
        return self.length

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Read from the start."""

    def _report(self, problem: str) -> None:
        self.problems.append(problem)
        _LOG.warning(problem)


class VideoSource(FrameSource):
    """A video file. Frames are named by their 0-based index, as the decoder returns them."""

    def __init__(self, path: Path, contrast: Contrast) -> None:
        super().__init__(path, contrast)
        capture = self._open()
        try:
            read_deep_grey(capture)
            first = next(read_frames(capture, contrast), None)
            if first is None:
                raise SourceError(
                    f"The video '{path}' has no frame that can be decoded; it is empty, damaged or "
                    "of a codec this OpenCV lacks."
                )
            # The container's own count; some streams have none.
            self.length = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            self.fps = frame_rate(capture)
            self.size = (first.bgr.shape[1], first.bgr.shape[0])
        finally:
            capture.release()

    def __iter__(self) -> Iterator[Frame]:
        self.problems.clear()
        capture = self._open()
        loss = read_deep_grey(capture)
        if loss is not None:
            self._report(f"The video '{self.path}' {loss}.")
        count = 0
        try:
            for frame in read_frames(capture, self._contrast):
                count += 1
                if count == 2 and (presentation_ns(capture) is None or is_raw_stream(self.path)):
                    self._report_no_timestamps()
                yield frame
        finally:
            capture.release()
        if count < self.length:
            self._report(
                f"The video '{self.path}' promises {self.length} frames but only {count} can be "
                "decoded; it is probably cut off or damaged."
            )

    def _report_no_timestamps(self) -> None:
        times = "times are unknown"
        if self.fps is not None:
            times = f"times are counted at the nominal {self.fps:g} frames per second"
        self._report(f"The video '{self.path}' has no timestamps; {times}.")

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


class _Picture(NamedTuple):
    """An image file, or a page of a TIFF file."""

    name: FrameName
    path: Path
    page_offset: int | None = None

    def read(self, contrast: Contrast) -> np.ndarray:
        if self.page_offset is None:
            return read_image(self.path, contrast.frame)
        try:
            return read_page(self.path, self.page_offset, contrast.frame)
        except SourceError as error:
            raise SourceError(f"Page {self.name}: {error}") from error


class ImagesSource(FrameSource):
    """Image files in natural order (``2.jpg`` before ``10.jpg``), named by their file name.

    A TIFF file of many pages, as thermal cameras record, is a sequence of frames. They are named by
    their 0-based index if it is the only file, else ``stack.tif#0``, ``stack.tif#1`` and so on.

    An unreadable image is reported and left out: one bad image must not end the evaluation of a
    whole flight.
    """

    def __init__(self, path: Path, files: list[Path], contrast: Contrast) -> None:
        super().__init__(path, contrast)
        self._pictures: list[_Picture] = []
        self._missing: list[str] = []
        for file in files:
            self._add(file, alone=len(files) == 1)
        self.length = len(self._pictures)
        problems: list[str] = []
        for picture in self._pictures:
            try:
                height, width = picture.read(contrast).shape[:2]
            except SourceError as error:
                problems.append(str(error))
                continue
            self.size = (width, height)
            return
        if len(problems) == 1:
            raise SourceError(problems[0])
        raise SourceError(
            f"None of the {len(problems)} images in '{path}' can be read; the first: {problems[0]}"
        )

    def __iter__(self) -> Iterator[Frame]:
        self.problems.clear()
        for problem in self._missing:
            self._report(problem)
        for picture in self._pictures:
            try:
                frame_bgr = picture.read(self._contrast)
            except SourceError as error:
                self._report(f"Left out: {error}")
                continue
            yield Frame(picture.name, None, frame_bgr)

    def _add(self, file: Path, alone: bool) -> None:
        try:
            pages = pages_of(file)
        except SourceError:
            pages = TiffPages(())  # reading the picture will say why
        if len(pages.offsets) < 2:
            self._pictures.append(_Picture(file.name, file))
            return
        for number, offset in enumerate(pages.offsets):
            name = number if alone else page_name(file.name, number)
            self._pictures.append(_Picture(name, file, offset))
        if pages.others:
            self._missing.append(
                f"Left out: {len(pages.others)} pages of '{file}' that are not of the first page's "
                f"size, such as number {pages.others[0]} of the file (counted from 0)."
            )
        if pages.cut_off:
            self._missing.append(
                f"'{file}' is cut off after {len(pages.offsets)} pages; copy it again."
            )


def open_source(path: Path, contrast: Optional[Contrast] = None) -> FrameSource:
    """Open a video file, a folder of images, a TIFF file of one or many pages, or another image.

    Args:
        contrast: makes frames of more than 8 bits 8-bit; None follows the range in use.

    Raises:
        SourceError: it does not exist, is empty, or nothing in it can be decoded.
    """
    path = Path(path)
    contrast = contrast or Contrast()
    if path.is_dir():
        files = [file for file in path.iterdir() if _is_image(file)]
        if not files:
            raise SourceError(
                "The folder '{}' has no images; expected files ending in {}.".format(
                    path, " ".join(IMAGE_SUFFIXES)
                )
            )
        return ImagesSource(path, sorted(files, key=lambda file: natural_key(file.name)), contrast)
    check_file(path)
    # OpenCV would take "frame_0001.jpg" for the start of a numbered sequence.
    if _is_image(path):
        return ImagesSource(path, [path], contrast)
    return VideoSource(path, contrast)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that orders the numbers in names by value: ``2.jpg`` before ``10.jpg``."""
    parts = re.split(r"([0-9]+)", name)
    return [
        (0, int(part), part) if part.isdigit() else (1, 0, part.lower()) for part in parts if part
    ]


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.is_file() and not hidden and path.suffix.lower() in IMAGE_SUFFIXES
