"""Every recipe once through: prepare, fit, export (parity, TensorRT 8.4), detect, live.

That a node runs them is in ``test/ros/test_node_recipes.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_recipes import (
    RECIPES,
    SIDE,
    SLOW,
    SMALL,
    frame,
    parameters,
    settings,
    trained_bundle,
    write_prepared,
)

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("lightning", reason="training needs lightning")

import yaml

from refdet_core.bundle import AS_TEMPLATE, load_bundle
from refdet_core.cli import main as refdet
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.live.session import MOVE, PRESS, RELEASE, Mouse, Session
from refdet_core.types import Reference
from refdet_core.video import Frame
from refdet_training.lightning_cli import fit

ALL = parameters(SLOW)
START = (60, 60)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data"))


def test_every_recipe_is_tested() -> None:
    released = {"refdet_mobilenetv3"}
    pairwise = {
        path.stem
        for path in RECIPES.glob("*.yaml")
        if "window:" in path.read_text(encoding="utf-8")
    }
    assert pairwise - released == set(SMALL)


@pytest.mark.parametrize("recipe", ALL)
def test_a_recipe_trains_exports_and_runs(recipe: str, prepared, tmp_path) -> None:
    folder = trained_bundle(recipe, prepared, tmp_path)
    bundle = load_bundle(folder, verify=True)
    written = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))["model"]
    assert bundle.tracking.window.size == written["tracking"]["window"]["size"]
    assert bundle.tracking.window_influence == written["tracking"]["window_influence"]
    assert bundle.template_crop.border == "mean"
    assert (bundle.box_size == AS_TEMPLATE) == (recipe == "siamfc")

    frames = [frame("red", START[0] + 4 * number, START[1] + 2 * number) for number in range(3)]
    detects(folder, frames, tmp_path)
    searches_frames_of_a_few_pixels(folder, frames[0])
    follows_live(folder, frames, tmp_path)


def detects(bundle: Path, frames: list[np.ndarray], folder: Path) -> None:
    """``refdet detect`` with a photo and from a first box: a line for every frame."""
    (folder / "frames").mkdir()
    for number, picture in enumerate(frames):
        cv2.imwrite(str(folder / "frames" / f"{number}.png"), picture)
    roi = f"{START[0]},{START[1]},{SIDE},{SIDE}"
    photo = ["--template", str(folder / "frames" / "0.png"), "--roi", roi]
    for search, start in (("tiles", photo), ("auto", photo), ("track", ["--init", roi])):
        output = folder / search
        given = ["--frames", str(folder / "frames"), "--bundle", str(bundle), *start]
        assert refdet(["detect", *given, "--search", search, "--output", str(output)]) == 0
        lines = (output / "detections.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == len(frames)
        for line in lines:
            for detection in json.loads(line)["detections"]:
                assert np.isfinite(detection["bbox_xyxy"]).all()
                assert 0 <= detection["score"] <= 1


def searches_frames_of_a_few_pixels(bundle: Path, photo: np.ndarray) -> None:
    """Layers without padding need many pixels for one cell; a tile is padded to them."""
    x, y = START
    box = (x, y, x + SIDE, y + SIDE)
    config = DetectorConfig(search="tiles", tile_width=64, tile_height=64, tile_overlap=16)
    with Detector.open(bundle, "onnxruntime", config) as detector:
        detector.set_template([Reference(photo, box)], "square")
        for height, width in ((1, 1), (7, 60), (90, 9)):
            assert detector.detect(photo[:height, :width]) is not None


def follows_live(bundle: Path, frames: list[np.ndarray], folder: Path) -> None:
    """``refdet live`` without its window: a box is drawn on the first frame."""
    config = DetectorConfig(search="auto")
    with Detector.open(bundle, "onnxruntime", config) as detector:
        session = Session(detector, "flight", folder / "saved")
        session.take(Frame(0, 0.0, frames[0]))
        x, y = START
        for kind, at in ((PRESS, 0), (MOVE, SIDE), (RELEASE, SIDE)):
            layout = session.layout
            place = (
                layout.frame.x + (x + at) * layout.scale,
                layout.frame.y + (y + at) * layout.scale,
            )
            session.handle(Mouse(kind, *place))
        assert len(detector.bank.templates) == 1
        for number, picture in enumerate(frames[1:], start=1):
            session.take(Frame(number, number / 10, picture))
            assert session.seen is not None
            assert session.seen[0].name == number
        assert session.view().frame_bgr.shape == frames[0].shape


def test_a_frozen_backbone_needs_weights(prepared, tmp_path) -> None:
    given = settings("crossattention_mobilenetv3", prepared, tmp_path)
    given[given.index("--model.frozen_blocks") + 1] = "5"
    with pytest.raises(ConfigError, match="starts from random weights"):
        fit(given)


def test_synthetic_pairs_have_no_windows(prepared, tmp_path) -> None:
    for folder in ("cutouts", "backgrounds"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / folder / f"{number}.jpg"), frame("red", 60, 60))
    given = settings("crossattention_mobilenetv3", prepared, tmp_path / "run")
    given += ["--data.cutouts", str(tmp_path / "cutouts")]
    given += ["--data.backgrounds", f"[{tmp_path / 'backgrounds'}]"]
    given[given.index("--data.shares") + 1] = "{cutouts: 1.0, squares: 0.001}"
    with pytest.raises(ConfigError, match="have no windows"):
        fit(given)
