"""The recipe satellite_triplet once through: labelled images, training, bundle, search."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("lightning", reason="training needs lightning")
pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning")
pytest.importorskip("rasterio", reason="needs rasterio")

import torch
from satellite_images import METRES, NORTH, WEST, places, write_image
from small_recipes import RECIPES, exported
from small_recipes import satellite_settings as settings

from refdet_core.bundle import AS_TEMPLATE, load_bundle
from refdet_core.cli import main as refdet
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError, RefdetError
from refdet_core.model.siamese import Siamese, SiameseConfig
from refdet_core.types import Reference
from refdet_training.lightning_cli import fit


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        write_image(folder / f"train_{number}.tif", number)
        write_image(folder / f"tune_{number}.tif", 10 + number)
    return folder


@pytest.fixture(scope="module")
def bundle(images, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit([*settings(images, folder), "--model.lr", "3e-3"])
    return exported(folder, folder / "bundle", "ponds")


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """Two images in another order of bands than the network's."""
    folder = tmp_path_factory.mktemp("searched")
    for number in (20, 21):
        write_image(folder / f"{number}.tif", number, ("nir", "red", "green", "blue"), labels=False)
    return folder


def exemplars(folder: Path, name: str = "pond", number: int = 20) -> list[str]:
    boxes = [f"{x - 10},{y - 10},20,20" for kind, (x, y) in places(number) if kind == name]
    return [f"{folder / str(number)}.tif:{box}" for box in boxes]


def search(folder: Path, bundle: Path, output: Path, *more: str) -> int:
    given = ["--images", str(folder), "--exemplar", *exemplars(folder), "--class", "pond"]
    return refdet(
        ["search-images", *given, "--bundle", str(bundle), "--output", str(output), *more]
    )


def rows(output: Path) -> list[dict[str, str]]:
    with open(output / "detections.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_bundle_says_how_it_is_to_be_used(bundle) -> None:
    loaded = load_bundle(bundle, verify=True)
    assert loaded.bands == ("blue", "green", "red", "nir")
    assert loaded.dense
    assert loaded.box_size == AS_TEMPLATE
    assert loaded.score_threshold == 0.3
    assert loaded.calibration.score_weight != 1.0  # fitted on the tuning chips
    assert loaded.scores["tune"]["fitted"]
    assert loaded.training["chips"]["pond"] == 6
    assert "/" not in str(loaded.training["data"]["data_dir"])


def test_ponds_are_found_with_places_in_the_images_coordinates(bundle, searched, tmp_path) -> None:
    assert search(searched, bundle, tmp_path) == 0
    found = rows(tmp_path)
    assert list(found[0]) == ["x_min", "y_min", "x_max", "y_max", "class", "image", "score"]
    assert {row["class"] for row in found} == {"pond"}
    for number in (20, 21):
        own = [row for row in found if row["image"] == f"{number}.tif"]
        scores = [float(row["score"]) for row in own]
        assert scores == sorted(scores, reverse=True)
        centres = np.array(
            [
                [
                    (float(row["x_min"]) + float(row["x_max"])) / 2,
                    (float(row["y_min"]) + float(row["y_max"])) / 2,
                ]
                for row in own[:2]
            ]
        )
        ponds = np.array([place for kind, place in places(number) if kind == "pond"])
        distances = np.linalg.norm(centres[:, None] - ponds[None], axis=2)
        assert distances.min(axis=1).max() < 14, "the two best hits are the two ponds"
        assert set(distances.argmin(axis=1)) == {0, 1}
    content = json.loads((tmp_path / "detections.geojson").read_text(encoding="utf-8"))
    assert content["crs"]["properties"]["name"].endswith("EPSG::32611")
    assert len(content["features"]) == len(found)
    first = content["features"][0]
    ring = np.array(first["geometry"]["coordinates"][0])
    assert np.array_equal(ring[0], ring[-1])
    assert ring[:, 0].min() == pytest.approx(WEST + METRES * float(found[0]["x_min"]), abs=0.1)
    assert ring[:, 1].max() == pytest.approx(NORTH - METRES * float(found[0]["y_min"]), abs=0.1)
    picture = cv2.imread(str(tmp_path / "overview.jpg"))
    assert picture is not None
    assert min(picture.shape[:2]) > 500


def test_dense_evaluation_finds_the_same_as_window_by_window(bundle, searched, tmp_path) -> None:
    for way in ("dense", "chips"):
        assert search(searched, bundle, tmp_path / way, "--evaluation", way) == 0
    dense, chips = rows(tmp_path / "dense"), rows(tmp_path / "chips")
    assert len(dense) == len(chips) > 0
    for one, other in zip(dense, chips):
        assert one["x_min"] == other["x_min"]
        assert float(one["score"]) == pytest.approx(float(other["score"]), abs=2e-3)


def test_a_padded_network_is_evaluated_window_by_window(images, searched, tmp_path, capsys) -> None:
    more = ["--model.network.backbone", "resnet18", "--model.network.strides", "[16]"]
    more += ["--trainer.max_steps", "2", "--trainer.max_epochs", "-1", "--model.lr", "1e-4"]
    fit([*settings(images, tmp_path / "run"), *more])
    folder = exported(tmp_path / "run", tmp_path / "bundle", "ponds")
    assert not load_bundle(folder).dense
    assert search(searched, folder, tmp_path / "found") == 0
    assert search(searched, folder, tmp_path / "dense", "--evaluation", "dense") == 2
    assert "--evaluation chips" in capsys.readouterr().err


def test_images_without_coordinates_get_a_table_and_a_word(
    bundle, searched, tmp_path, capsys
) -> None:
    plain = tmp_path / "plain.tif"
    write_image(plain, 20, crs=None, labels=False)
    given = ["--images", str(plain), "--exemplar", *exemplars(searched), "--class", "pond"]
    output = tmp_path / "found"
    assert refdet(["search-images", *given, "--bundle", str(bundle), "--output", str(output)]) == 0
    assert "no coordinate reference system" in capsys.readouterr().err
    assert rows(output)
    assert not list(output.glob("*.geojson"))


def test_an_image_of_the_class_may_be_the_exemplar_as_a_whole(bundle, searched, tmp_path) -> None:
    import rasterio

    with rasterio.open(searched / "20.tif") as file:
        x, y = next(place for kind, place in places(20) if kind == "pond")
        window = rasterio.windows.Window(x - 13, y - 13, 26, 26)
        profile = {**file.profile, "width": 26, "height": 26}
        with rasterio.open(tmp_path / "chip.tif", "w", **profile) as chip:
            chip.write(file.read(window=window))
            chip.descriptions = file.descriptions
    given = ["--images", str(searched / "21.tif"), "--exemplar", str(tmp_path / "chip.tif")]
    given += ["--class", "pond", "--bundle", str(bundle), "--output", str(tmp_path / "found")]
    assert refdet(["search-images", *given]) == 0
    best = rows(tmp_path / "found")[0]
    ponds = [place for kind, place in places(21) if kind == "pond"]
    assert min(abs(float(best["x_min"]) + 13 - x) for x, _ in ponds) < 14


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--exemplar"], "needs 1 to 5 exemplars, got none"),
        (["--bands", "red,green"], "has 4 bands, but 2 were named"),
        (["--bands", "w,x,y,z"], "without blue"),
        (["--images", "nowhere"], "no image or folder"),
        (["--score-threshold", "3"], "within 0 and 1"),
        (["--exemplar", "{searched}/20.tif:900,900,20,20"], "outside of 20.tif"),
        (["--exemplar", "{searched}/20.tif:155,155,20,20"], "at least half"),
        (["--exemplar", "{searched}/20.tif:80,80,1,1"], "too small"),
        (["--class", " "], "--class is empty"),
        (["--bundle", "small"], "does not embed windows"),
    ],
)
def test_bad_input_is_one_clear_sentence(more, part, bundle, searched, tmp_path, capsys) -> None:
    given = {
        "--images": [str(searched)],
        "--exemplar": exemplars(searched),
        "--class": ["pond"],
        "--bundle": [str(bundle)],
        "--output": [str(tmp_path / "found")],
    }
    given[more[0]] = [text.format(searched=searched) for text in more[1:]]
    words = [word for key, values in given.items() if values for word in (key, *values)]
    assert refdet(["search-images", *words]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "found").exists()


def test_wrong_images_are_refused_before_anything_is_written(bundle, searched, tmp_path, capsys):
    import rasterio

    folder = tmp_path / "images"
    folder.mkdir()
    write_image(folder / "a.tif", 20, labels=False)
    write_image(folder / "b.tif", 20, ("red", "green", "blue"), labels=False)
    given = ["--images", str(folder), "--exemplar", *exemplars(searched), "--class", "pond"]
    output = tmp_path / "found"
    assert refdet(["search-images", *given, "--bundle", str(bundle), "--output", str(output)]) == 2
    assert "b.tif has 3 bands" in capsys.readouterr().err
    with rasterio.open(
        folder / "b.tif", "w", driver="GTiff", height=1, width=1, count=4, dtype="uint16"
    ) as file:
        file.write(np.full((4, 1, 1), 500, np.uint16))
    assert refdet(["search-images", *given, "--bundle", str(bundle), "--output", str(output)]) == 2
    assert "b.tif is 1x1 px" in capsys.readouterr().err
    assert not output.exists()


def test_labels_and_weights_that_do_not_fit_are_refused(images, tmp_path) -> None:
    def refusal(*more: str) -> str:
        with pytest.raises(RefdetError) as error:
            fit([*settings(images, tmp_path / "run"), *more])
        return str(error.value)

    assert "class 'lake'" in refusal("--data.classes", "[lake, pond]")
    assert "No image" in refusal("--data.train", "[nothing_*]")
    assert "must name images" in refusal("--data.tune", "[]")
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "other.pth")
    other = refusal("--model.backbone_weights", str(tmp_path / "other.pth"))
    assert "resnet18_unpadded" in other or "another architecture" in other
    assert "Unknown task 'chip'" in refusal("--task", "chip")
    (images / "train_9.csv").write_text("a,b\n1,2\n")
    write_image(images / "train_9.tif", 9, labels=False)
    try:
        assert "needs the columns" in refusal()
        (images / "train_9.csv").write_text("x,y\n1,2\n1,two\n")
        assert "line 3" in refusal()
    finally:
        for path in images.glob("train_9.*"):
            path.unlink()


def test_a_camera_refuses_more_bands_than_it_gives(bundle) -> None:
    with pytest.raises(RefdetError, match="search-images"):
        Detector.open(bundle, "onnxruntime")


def test_with_three_bands_the_detector_runs_it(images, tmp_path) -> None:
    more = ["--model.network.bands", "[red, green, blue]", "--model.lr", "3e-3"]
    fit([*settings(images, tmp_path / "run"), *more])
    folder = exported(tmp_path / "run", tmp_path / "bundle", "ponds")
    frame = np.zeros((200, 320, 3), np.uint8)
    frame[:] = (60, 70, 80)
    cv2.circle(frame, (100, 100), 24, (120, 60, 30), -1)
    box = (75.0, 75.0, 125.0, 125.0)
    for search in ("tiles", "full_frame", "track"):
        config = DetectorConfig(search=search, score_threshold=0.0)
        with Detector.open(folder, "onnxruntime", config) as detector:
            detector.set_template([Reference(frame, box, same_camera=True)])
            if search == "track":
                detector.lock(DEFAULT_TEMPLATE_ID, box)
            result = detector.detect(frame, time_s=0.0)
            assert result.detections
            best = max(result.detections, key=lambda item: item.score)
            x1, _, x2, _ = best.bbox_xyxy
            assert abs((x1 + x2) / 2 - 100) < 40
            if search == "tiles":  # the box is the template's size
                assert 40 < x2 - x1 < 60


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"template_size": 32}, "leaves no cell"),
        ({"embedding_stride": 30}, "multiples"),
        ({"heatmap_size": 5}, "heatmap_size"),
        ({"bands": ("red", "red")}, "name of its own"),
        ({"matcher": "correlation"}, "go together"),
        ({"strides": (16,)}, "one of the strides"),
    ],
)
def test_networks_that_do_not_fit_are_refused(changes, part) -> None:
    given = {
        "backbone": "resnet18_unpadded",
        "strides": (4,),
        "neck": "embedding",
        "matcher": "cosine",
        "kernel": "whole",
        "head": "score",
        "template_size": 64,
        "img_size": 256,
        "heatmap_size": 7,
    }
    with pytest.raises(ConfigError, match=part):
        Siamese(SiameseConfig(**{**given, **changes}))


def test_the_published_recipe_has_its_layers() -> None:
    import yaml

    content = yaml.safe_load((RECIPES / "satellite_triplet.yaml").read_text(encoding="utf-8"))
    network = Siamese(SiameseConfig(**content["model"]["network"])).eval()
    layers = network.neck.layers
    assert [layers[0].in_channels, layers[0].out_channels, layers[2].out_channels] == [
        2048,
        512,
        128,
    ]
    with torch.no_grad():
        embedded = network.encode_template(torch.rand(2, 4, 64, 64) * 255)
    assert embedded.shape == (2, 128, 1, 1)
    assert torch.allclose(embedded.flatten(1).norm(dim=1), torch.ones(2), atol=1e-3)
    # At first the network sees the photo's colours alone.
    mixed = network.bands.mix.weight[:, :, 0, 0]
    assert torch.equal(mixed, torch.tensor([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]))
