"""Text as Windows editors write it, with a byte-order mark."""

from __future__ import annotations

import codecs
import shutil

import pytest

from refdet_core.bundle import DEFAULT_BUNDLE, DESCRIPTION, load_bundle
from refdet_core.text_files import read_text, text_encoding


@pytest.mark.parametrize(
    "content",
    [
        "ä,1\r\n2".encode(),
        codecs.BOM_UTF8 + "ä,1\n2".encode(),
        codecs.BOM_UTF16_LE + "ä,1\n2".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "ä,1\n2".encode("utf-16-be"),
    ],
    ids=["none", "utf-8", "utf-16-le", "utf-16-be"],
)
def test_the_mark_is_taken_away(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read_text(path) == "ä,1\n2"
    with path.open(encoding=text_encoding(path)) as file:
        assert file.readline() == "ä,1\n"


@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_nothing_but_a_mark_is_an_empty_file(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read_text(path) == ""


def test_what_is_not_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"1,2\n\xff\xfa3")
    with pytest.raises(UnicodeDecodeError):
        read_text(path)
    assert read_text(path, errors="replace").startswith("1,2\n")
    with pytest.raises(OSError, match="nowhere"):
        read_text(tmp_path / "nowhere")


def test_a_bundle_whose_description_was_edited_on_windows(tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, copy)
    text = (copy / DESCRIPTION).read_bytes().replace(b"\n", b"\r\n")
    (copy / DESCRIPTION).write_bytes(codecs.BOM_UTF8 + text)
    assert load_bundle(copy).name == load_bundle().name
