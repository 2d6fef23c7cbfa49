"""A file is replaced whole or stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from refdet_training.datasets.whole_files import write_whole


@pytest.mark.parametrize("content", [b"", b"new", bytes(range(256)) * 999])
def test_a_file_is_made_with_its_folder_and_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some" / "folder" / "index.parquet"
    for expected in (b"a first and longer content", content):
        write_whole(path, expected)
        assert path.read_bytes() == expected
    assert list(path.parent.iterdir()) == [path]


def test_writing_that_fails_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    write_whole(path, b"before")
    (tmp_path / "splits.json.tmp").mkdir()  # nothing can be written beside it
    with pytest.raises(OSError):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
