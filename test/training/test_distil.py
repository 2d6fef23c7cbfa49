"""One small backbone that learns what published networks see."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from video_files import write_video

pytest.importorskip("lightning", reason="training is not installed")

from safetensors.torch import load_file, save_file

from refdet_core.model.backbones import make_backbone
from refdet_training.cli import main

NAME = "mobilenetv3_large_075"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Weights that the student starts from."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_file(make_backbone(NAME, (8, 16)).net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    drawn = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), drawn)
    return folder


def distil(start, *arguments) -> int:
    return main(["distil", "--backbone", NAME, "--weights", str(start), *map(str, arguments)])


def test_the_layers_behind_the_stem_learn(start, photos, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    write_video(videos / "grey.mp4", range(0, 200, 10))
    output = tmp_path / "new" / "student.safetensors"
    given = [photos, videos, "--teachers", "nanotrackv3", "--steps", 2, "--output", output]
    assert distil(start, *given, "--cut-blocks", 1) == 0
    assert "nanotrackv3" in capsys.readouterr().out
    before, after = load_file(start), load_file(output)
    changed = {name.split(".")[1] for name in after if not after[name].equal(before[name])}
    assert changed == {"3", "4"}  # the blocks between stride 8 and 16
    make_backbone(NAME, (8, 16), cut_blocks=1).load_weights(output)


def test_it_stops_at_what_cannot_be_used(start, photos, tmp_path, capsys):
    def refusal(*arguments, weights=start) -> str:
        assert distil(weights, *arguments, "--output", tmp_path / "none.safetensors") == 2
        return capsys.readouterr().err

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no .mp4, .jpg or .png files" in refusal(empty)
    assert "--steps must be at least 1" in refusal(photos, "--steps", 0)
    for name, content in (
        ("a.pth", b"no weights"),
        ("a.safetensors", b"no weights"),
        ("b.pth", b""),
    ):
        (tmp_path / name).write_bytes(content)
        message = refusal(photos, "--teachers", "nanotrackv3", weights=tmp_path / name)
        assert f"{name} does not fit the backbone" in message and "\n" not in message.strip()
    missing = refusal(photos, "--teachers", "nanotrackv3", weights=tmp_path / "none.pth")
    assert "none.pth does not fit" in missing
    assert "is not a model bundle" in refusal(photos, "--teachers", "nobody")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.jpg").write_bytes(b"no picture")
    assert "cannot be read as a picture" in refusal(broken, "--teachers", "nanotrackv3")
    assert not (tmp_path / "none.safetensors").exists()
