from __future__ import annotations

import shutil

import pytest
import yaml

from refdet_core.bundle import DEFAULT_BUNDLE, load_bundle
from refdet_core.detector import Detector
from refdet_core.errors import BackendError, BundleError


@pytest.fixture
def copy(colour_bundle, tmp_path):
    return shutil.copytree(colour_bundle, tmp_path / "bundle")


def change(folder, **values):
    path = folder / "bundle.yaml"
    content = {**yaml.safe_load(path.read_text()), **values}
    path.write_text(
        yaml.safe_dump({key: value for key, value in content.items() if value is not None})
    )


def test_the_released_bundle_is_complete_unchanged_and_small():
    bundle = load_bundle(verify=True)
    assert set(bundle.sha256) == {"template_encoder.onnx", "detector.onnx", "weights.pt"}
    size = sum(path.stat().st_size for path in DEFAULT_BUNDLE.rglob("*") if path.is_file())
    assert size <= 20e6
    assert 0 < bundle.score_threshold < 1


def test_the_released_bundle_beats_its_untrained_backbone_as_its_scores_say():
    scores = load_bundle().scores
    for source in ("aerial_sequences", "airborne_targets"):
        trained, untrained = scores[source]["refdet"], scores[source]["untrained_backbone"]
        for number in ("centre_hit", "ap30", "presence_auroc"):
            assert trained[number] > untrained[number]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 99}, "bundle format 99, this refdet reads format 1"),
        ({"format": None}, "bundle format None"),
        ({"colour": "red"}, r"unknown keys \['colour'\]"),
        ({"stride": None}, "incomplete"),
        ({"calibration": {"slope": 1}}, "incomplete"),
    ],
)
def test_a_wrong_description_is_refused(copy, values, message):
    change(copy, **values)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["", "- a list", "{unclosed", "\x00"])
def test_a_description_that_is_no_mapping_is_refused(copy, text):
    (copy / "bundle.yaml").write_text(text)
    with pytest.raises(BundleError, match=r"bundle\.yaml"):
        load_bundle(copy)


def test_missing_parts_are_named(copy, tmp_path):
    (copy / "detector.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks detector\.onnx"):
        load_bundle(copy)
    with pytest.raises(BundleError, match="not a model bundle"):
        load_bundle(tmp_path / "nowhere")


def test_a_listed_file_that_is_gone_is_named(copy):
    change(copy, sha256={"weights.pt": "0" * 64})
    (copy / "weights.pt").unlink(missing_ok=True)
    with pytest.raises(BundleError, match=r"weights\.pt of bundle .* cannot be read"):
        load_bundle(copy, verify=True)


def test_a_damaged_graph_is_told_by_its_hash_and_refused_by_the_backend(copy):
    change(copy, sha256={"detector.onnx": "0" * 64})
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(copy, verify=True)
    (copy / "detector.onnx").write_bytes(b"not a graph")
    with pytest.raises(BackendError, match="refuses"):
        Detector.open(copy)
