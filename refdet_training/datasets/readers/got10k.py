"""GOT-10k (Huang et al., TPAMI 2021): ``[train|val|test/]<sequence>/00000001.jpg`` and so on.

``groundtruth.txt`` has a line ``x,y,w,h`` for every frame (in test sequences only for the first).
``absence.label`` has a line for every frame, 1 where the object is absent; ``cover.label`` says
how much of it is visible, from 0 (nothing) to 8 (all). ``meta_info.ini`` names the
``object_class``.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

from refdet_core.text_files import read_text
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.files import has_picture
from refdet_training.datasets.readers.record import Video
from refdet_training.datasets.readers.sequence import sequence_video

LOOKS_LIKE = "<sequence>/ with *.jpg and groundtruth.txt"
_HIDDEN = {"absence.label": 1, "cover.label": 0}


def detect(folder: Path) -> bool:
    """Whether there is a sequence whose pictures lie beside ``groundtruth.txt``."""
    return any(has_picture(sequence) for sequence in _sequences(folder))


def read(folder: Path, problems: Problems) -> Iterator[Video]:
    """Yield the sequences."""
    for path in _sequences(folder):
        kind = _object_class(path / "meta_info.ini", problems)
        yield sequence_video(path, path, folder, kind, _HIDDEN, 0, problems)


def _sequences(folder: Path) -> Iterator[Path]:
    for pattern in ("groundtruth.txt", "*/groundtruth.txt", "*/*/groundtruth.txt"):
        for path in sorted(folder.glob(pattern)):
            if not (path.parent / "img").is_dir():  # that is LaSOT
                yield path.parent


def _object_class(path: Path, problems: Problems) -> str:
    if not path.exists():
        return ""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text(path))
    except (configparser.Error, UnicodeDecodeError) as error:
        problems.add("label_malformed", path, None, str(error).splitlines()[0])
    return next(
        (section["object_class"] for section in parser.values() if "object_class" in section), ""
    )
