"""Real frames and references that show INT8 the ranges of the detector's values.

The folder holds frames as images. Its folder ``references`` may hold photos of objects; without
them, crops of the frames are used instead.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Tuple

import numpy as np

from refdet_core.backends.engines.graph import Feed, read_graph, reference_session
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError, SourceError
from refdet_core.image_files import IMAGE_SUFFIXES, read_image
from refdet_core.imaging import Crop, extract, letterbox, to_blob

REFERENCES_FOLDER = "references"
_MOST_FRAMES = 200  # evenly chosen if there are more
_PIECES = ((0.3, 0.4), (0.5, 0.5), (0.7, 0.6))  # centres, in shares of the frame's sides
_PIECE_PX = 48


@dataclass(frozen=True)
class Calibration:
    """The calibration images.

    Attributes:
        frames, references: image files.
        digest: sha256 over all of them.
    """

    frames: Tuple[Path, ...]
    references: Tuple[Path, ...]
    digest: str


def read_calibration(folder: str) -> Calibration:
    """Find the images in a folder.

    Raises:
        BackendError: no folder is given, or it holds no image.
        SourceError: the folder or an image cannot be read.
    """
    if not folder:
        raise BackendError(
            "An int8 engine is calibrated with real frames: give a folder of images from the "
            "camera (refdet engine build --calibration DIR, engine_calibration), or use fp16."
        )
    try:
        return _found(Path(folder).expanduser())
    except (OSError, RuntimeError) as error:  # the latter if ~ has no owner
        raise SourceError(f"The calibration frames in '{folder}' cannot be read: {error}") from (
            error
        )


def _found(folder: Path) -> Calibration:
    frames = _images(folder)
    if not frames:
        raise BackendError(
            "'{}' holds no frames to calibrate an int8 engine with; put some hundred images from "
            "the camera there ({}).".format(folder, " ".join(IMAGE_SUFFIXES))
        )
    step = max(1.0, len(frames) / _MOST_FRAMES)
    frames = [frames[int(index * step)] for index in range(min(len(frames), _MOST_FRAMES))]
    references = _images(folder / REFERENCES_FOLDER)
    digest = hashlib.sha256()
    for path in (*frames, *references):
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Calibration(tuple(frames), tuple(references), digest.hexdigest())


class CalibrationPictures:
    """The images as network inputs. Methods raise SourceError for unreadable images."""

    def __init__(self, calibration: Calibration, bundle: Bundle) -> None:
        self._calibration = calibration
        self._bundle = bundle
        self._encoder = reference_session(read_graph(bundle.template_graph))

    def __len__(self) -> int:
        return len(self._calibration.frames)

    def frames(self, count: int, width: int, height: int, first: int = 0) -> np.ndarray:
        """Whole frames in this size, ``(count, 3, height, width)``; cycles through the images."""
        shown = []
        for index in range(first, first + count):
            frame = self._frame(index)
            crop = letterbox((frame.shape[1], frame.shape[0]), (width, height))
            shown.append(extract(frame, crop))
        return to_blob(shown)

    def kernels(self, count: int, first: int = 0) -> Feed:
        """The kernels of ``count`` references by name, from the one for frame ``first`` on."""
        images = to_blob([self._reference(index) for index in range(first, first + count)])
        names = list(self._bundle.kernel_names)
        return dict(zip(names, self._encoder.run(names, {"image": images})))

    def feeds(self, width: int, height: int) -> Iterator[Feed]:
        """The detector's inputs: each frame with one view."""
        for index in range(len(self)):
            yield {"frame": self.frames(1, width, height, index), **self.kernels(1, index)}

    def _frame(self, index: int) -> np.ndarray:
        return read_image(self._calibration.frames[index % len(self)])

    def _reference(self, index: int) -> np.ndarray:
        photos = self._calibration.references
        if not photos:
            frame = self._frame(index)
            return extract(frame, _piece(frame, index, self._bundle))
        photo = read_image(photos[index % len(photos)])
        whole = (0.0, 0.0, float(photo.shape[1]), float(photo.shape[0]))
        return extract(photo, self._bundle.template_crop.around(whole))


def _piece(frame: np.ndarray, index: int, bundle: Bundle) -> Crop:
    height, width = frame.shape[:2]
    x, y = _PIECES[index % len(_PIECES)][0] * width, _PIECES[index % len(_PIECES)][1] * height
    half = _PIECE_PX / 2
    box_xyxy = (x - half, y - half, x + half, y + half)
    return bundle.template_crop.around(box_xyxy)


def _images(folder: Path) -> List[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
