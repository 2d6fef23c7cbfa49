"""A node runs the bundle of every recipe: a photo is set, a frame comes, an answer is published."""

import math

import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("lightning", reason="training needs lightning")

import cv2
import numpy as np
from satellite_images import SPECTRA, write_image
from small_recipes import (
    SIDE,
    SMALL,
    exported,
    frame,
    parameters,
    satellite_settings,
    trained_bundle,
    write_prepared,
)

from refdet_training.lightning_cli import fit

QUICK = "siamfc"
ALL = parameters(tuple(name for name in SMALL if name != QUICK))
START = (60, 60)
# Small tiles: before its first frame a node searches one, which takes AlexNet many seconds at 720p.
NODE = {"tile_width": 256, "tile_height": 192, "image_qos": "reliable"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("data"))


def reference(tools, picture, x, y, side, same_camera=False):
    from refdet_msgs.msg import TemplateReference
    from sensor_msgs.msg import RegionOfInterest

    roi = RegionOfInterest(x_offset=x, y_offset=y, width=side, height=side)
    return TemplateReference(image=tools.image(picture), roi=roi, same_camera=same_camera)


def assert_boxes_and_scores(message):
    for detection in message.detections:
        assert 0 <= detection.results[0].hypothesis.score <= 1
        sides = (detection.bbox.size_x, detection.bbox.size_y)
        assert all(math.isfinite(side) and side > 0 for side in sides)


@pytest.mark.parametrize("recipe", ALL)
def test_a_node_answers_with_a_recipes_bundle(
    recipe, prepared, tmp_path, start_node, connect, tools
):
    bundle = trained_bundle(recipe, prepared, tmp_path)
    node = start_node(recipe, bundle=bundle, search="auto", **NODE)
    bench = tools.Bench(node, connect(recipe), reliable=True)
    photo = reference(tools, frame("red", *START), *START, SIDE)
    response = bench.request(photo, template_id="square")
    assert response.success, response.message
    for number in range(3):
        picture = frame("red", START[0] + 4 * number, START[1] + 2 * number)
        image = tools.image(picture, tools.header(f"frame {number}"))
        assert_boxes_and_scores(bench.result(image))
        (target,) = tools.wait_for(
            lambda image=image: [item for item in bench.targets if item.header == image.header],
            what="the frame's targets",
        )[0].targets
        assert target.template_id == "square"
        assert 0 <= target.presence <= 1
    assert "Traceback" not in node.output


@pytest.mark.slow
def test_a_node_answers_with_a_satellite_recipe_of_three_bands(
    tmp_path, start_node, connect, tools
):
    pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning")
    pytest.importorskip("rasterio", reason="needs rasterio")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        write_image(images / f"train_{number}.tif", number)
        write_image(images / f"tune_{number}.tif", 10 + number)
    bands = ["--model.network.bands", "[red, green, blue]", "--model.lr", "3e-3"]
    fit([*satellite_settings(images, tmp_path / "run"), *bands])
    bundle = exported(tmp_path / "run", tmp_path / "bundle", "ponds")

    node = start_node("satellite", bundle=bundle, search="tiles", score_threshold=0.01, **NODE)
    bench = tools.Bench(node, connect("satellite"), reliable=True)
    side, (x, y) = 50, (100, 100)
    picture = np.full((200, 320, 3), SPECTRA["ground"][:3], np.uint8)
    cv2.circle(picture, (x, y), 24, SPECTRA["pond"][:3], -1)
    photo = reference(tools, picture, x - side // 2, y - side // 2, side, same_camera=True)
    response = bench.request(photo, template_id="pond")
    assert response.success, response.message
    message = bench.result(tools.image(picture))
    assert_boxes_and_scores(message)
    best = max(message.detections, key=lambda item: item.results[0].hypothesis.score)
    assert abs(best.bbox.center.position.x - x) < side
    assert abs(best.bbox.center.position.y - y) < side
    # No head measures a box: it is as large as the photo's.
    assert best.bbox.size_x == pytest.approx(side, rel=0.2)
    assert "Traceback" not in node.output
