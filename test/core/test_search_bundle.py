"""Which released network searches, and networks joined to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from refdet_core import search_bundle as chosen
from refdet_core.bundle import DEFAULT_BUNDLE
from refdet_core.search_bundle import AUTO, search_bundle


@pytest.mark.parametrize(
    ("backend", "tensorrt", "expected"),
    [
        ("auto", True, "base"),
        ("auto", False, "small"),
        ("tensorrt", False, "base"),
        ("onnxruntime", True, "small"),
    ],
)
def test_auto_takes_what_keeps_up_with_a_camera(monkeypatch, backend, tensorrt, expected):
    monkeypatch.setattr(chosen, "has_tensorrt", lambda: tensorrt)
    assert search_bundle(AUTO, backend).name == expected


def test_nothing_said_takes_the_most_accurate_and_a_folder_stays(tmp_path):
    assert search_bundle(None, "onnxruntime") == DEFAULT_BUNDLE
    assert search_bundle(Path("small"), "tensorrt").name == "small"
    assert search_bundle(tmp_path, "auto") == tmp_path
