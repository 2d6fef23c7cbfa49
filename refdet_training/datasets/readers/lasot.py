"""LaSOT (Fan et al., CVPR 2019): ``<category>/<category>-<n>/`` with ``img/00000001.jpg``.

``groundtruth.txt`` has a line ``x,y,w,h`` for every frame, pixels counted from 1.
``full_occlusion.txt`` and ``out_of_view.txt`` have a 0 or 1 for every frame, all on one line; a 1
in either means that the object is not visible, whatever the box says. The category is the
sequence's name before its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.files import has_picture
from refdet_training.datasets.readers.record import Video
from refdet_training.datasets.readers.sequence import sequence_video

LOOKS_LIKE = "<category>/<sequence>/ with img/*.jpg and groundtruth.txt"
_HIDDEN = {"full_occlusion.txt": 1, "out_of_view.txt": 1}


def detect(folder: Path) -> bool:
    """Whether there is a sequence with ``img/`` and ``groundtruth.txt``."""
    return any(has_picture(sequence / "img") for sequence in _sequences(folder))


def read(folder: Path, problems: Problems) -> Iterator[Video]:
    """Yield the sequences."""
    for path in _sequences(folder):
        kind = path.name.rsplit("-", 1)[0] if "-" in path.name else path.parent.name
        yield sequence_video(path, path / "img", folder, kind, _HIDDEN, 1, problems)


def _sequences(folder: Path) -> Iterator[Path]:
    for pattern in ("groundtruth.txt", "*/groundtruth.txt", "*/*/groundtruth.txt"):
        for path in sorted(folder.glob(pattern)):
            if (path.parent / "img").is_dir():
                yield path.parent
