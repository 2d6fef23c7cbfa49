from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from refdet_core.bundle import (
    BUNDLES_FOLDER,
    DEFAULT_BUNDLE,
    bundle_folder,
    load_bundle,
    released_names,
)
from refdet_core.crop_rule import CropRule
from refdet_core.detector import Detector
from refdet_core.errors import BackendError, BundleError
from refdet_core.tracking_rule import TrackingRule


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
    files = {"template_encoder.onnx", "detector.onnx", "weights.pt", "cohort.npy"}
    assert set(bundle.sha256) == files
    size = sum(path.stat().st_size for path in DEFAULT_BUNDLE.rglob("*") if path.is_file())
    assert size <= 20e6
    assert 0 < bundle.score_threshold < 1


@pytest.mark.parametrize("name", ["base", "small"])
def test_the_released_networks_were_measured_on_places_they_had_not_seen(name):
    scores = load_bundle(BUNDLES_FOLDER / name).scores
    assert len(scores["by_fold"]) > 1 and "out of fold" in scores["protocol"]
    pooled = scores["pooled"]
    assert pooled["centre_hit"] > 0.6 and pooled["presence_auroc"] > 0.8
    assert pooled["fpr"] <= 0.05 and pooled["ece"] <= 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 99}, r"bundle format 99, this refdet reads the formats \[1, 2\]"),
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


def test_a_bundle_without_the_cohort_of_its_rule_is_refused(copy):
    change(copy, refinement={"tracker": "fear", "cohort": "cohort.npy"})
    with pytest.raises(BundleError, match=r"cohort\.npy cannot be read"):
        load_bundle(copy)
    change(copy, refinement={"tracker": "fear", "cohort": "../cohort.npy"})
    with pytest.raises(BundleError, match="a file in the bundle's folder"):
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


def in_format_2(folder, **values):
    """The copy as format 2 describes it."""
    crop = {"size": 32, "context": 0.0}
    change(folder, format=2, template_size=None, template_context=None, template_crop=crop)
    change(folder, **values)


def test_format_1_keeps_its_crop_and_gets_the_rules_it_was_made_for(copy):
    bundle = load_bundle(copy)
    assert bundle.template_crop == CropRule(size=32, context=0.0)
    assert bundle.tracking == TrackingRule()
    assert bundle.purposes == ("search", "track")


def test_format_2_says_how_to_cut_and_what_the_network_is_good_for(copy):
    window = {"size": 256, "context": 0, "factor": 5, "stretched": True, "border": [1, 2, 3]}
    tracking = {"window": window, "window_influence": 0.38, "penalty_k": 0.062, "size_lr": 0.765}
    in_format_2(copy, tracking=tracking, purposes=["track"])
    bundle = load_bundle(copy)
    assert bundle.template_crop == CropRule(size=32, context=0.0)
    assert bundle.tracking.window == CropRule(256, 0, 5, stretched=True, border=(1, 2, 3))
    assert (bundle.tracking.size_lr, bundle.purposes) == (0.765, ("track",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"template_crop": {"size": 32, "colour": "red"}}, r"CropRule has no \['colour'\]"),
        ({"template_crop": {"size": 32, "border": "pink"}}, "border must be grey, black, mean"),
        ({"template_crop": {"size": 32, "border": [0, 0]}}, "border must be"),
        ({"template_crop": {"size": 0}}, "size of at least 1"),
        ({"template_crop": None}, "incomplete"),
        ({"tracking": {"window_influence": 2}}, "between 0 and 1"),
        ({"tracking": {"scales": 2}}, "one of 1, 3, 5"),
        ({"tracking": {"window": {"sides": 2}}}, r"CropRule has no \['sides'\]"),
        ({"purposes": ["fly"]}, "purposes"),
        ({"purposes": []}, "purposes"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_the_file_s_name(copy, values, message):
    in_format_2(copy, **values)
    with pytest.raises(BundleError, match=message) as refusal:
        load_bundle(copy)
    assert "bundle.yaml" in str(refusal.value)


def test_released_bundles_have_names():
    assert {"base", "small"} <= set(released_names())
    assert load_bundle(Path("small")).name == "refdet-small"
    assert load_bundle(Path("base")).folder == DEFAULT_BUNDLE == bundle_folder(None)
    with pytest.raises(BundleError, match=r"'base'.*'small'"):
        load_bundle(Path("huge"))
    with pytest.raises(BundleError, match="Did you mean 'base'") as refusal:
        load_bundle(Path("bass"))
    assert "efficientnet_lite0" not in str(refusal.value)  # which does not search


def test_a_missing_bundle_is_told_even_if_a_released_one_is_damaged(tmp_path, monkeypatch):
    shutil.copytree(str(BUNDLES_FOLDER), str(tmp_path / "bundles"))
    (tmp_path / "bundles" / "small" / "bundle.yaml").write_text("format: 99\n")
    monkeypatch.setattr("refdet_core.bundle.BUNDLES_FOLDER", tmp_path / "bundles")
    with pytest.raises(BundleError, match=r"'huge' is not a model bundle.*\['base'\]"):
        load_bundle(Path("huge"))


def test_a_folder_of_your_own_comes_before_a_released_name(tmp_path, monkeypatch):
    (tmp_path / "small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert bundle_folder(Path("small")) == Path("small")
