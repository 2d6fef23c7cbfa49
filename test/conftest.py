from __future__ import annotations

from pathlib import Path

import pytest
import toy_model

TESTS = Path(__file__).resolve().parent
ONE_AFTER_THE_OTHER = ("launch", "locate", "ros")
"""Folders whose tests start nodes and watch the clock."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With several workers a file's tests share one worker, and so do all tests of nodes."""
    for item in items:
        place = Path(str(item.fspath)).resolve().relative_to(TESTS)
        nodes = place.parts[0] in ONE_AFTER_THE_OTHER
        item.add_marker(pytest.mark.xdist_group("nodes" if nodes else str(place)))
        if nodes:  # discovery, a browser or a clock may be late once on a busy machine, not twice
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory):
    """Folder of the toy model's bundle."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("colour_bundle")
    toy_model.write_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def square_frame():
    """A function of colours: a grey frame with their squares at their places."""
    return toy_model.square_frame


@pytest.fixture(scope="session")
def squares():
    """Left upper corner of each colour's square."""
    return dict(toy_model.SQUARES_XY)
