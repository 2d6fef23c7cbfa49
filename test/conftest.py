from __future__ import annotations

import pytest
import toy_model


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
