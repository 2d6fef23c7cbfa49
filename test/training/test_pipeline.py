"""prepare, fit, resume, export, publish, evaluate; then the detector loads the bundle."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")

import yaml

from refdet_core.bundle import load_bundle
from refdet_core.detector import Detector
from refdet_core.types import Reference
from refdet_training.cli import main
from refdet_training.detection_protocol import (
    Outcome,
    average_precision,
    expected_calibration_error,
    summarise,
)
from refdet_training.train import load_checkpoint

RECIPE = {
    "model": {
        "backbone": "resnet18",
        "strides": [8],
        "channels": 16,
        "matcher": "depthwise",
        "img_size": 128,
        "heatmap_size": 16,
        "template_size": 64,
        "hidden": 8,
    },
    "pairs": {"img_size": 128, "template_size": 64},
    "weights": "weights.pth",
    "batch_size": 4,
    "tune_videos": ["aerial_sequences_blue", "airborne_targets_blue"],
}


@pytest.fixture(scope="module")
def work(data, tmp_path_factory):
    import timm
    import torch

    folder = tmp_path_factory.mktemp("work")
    torch.save(timm.create_model("resnet18").state_dict(), data / "weights.pth")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    places = ["--data", str(data), "--prepared", str(folder / "prepared")]
    recipe = ["--recipe", str(folder / "recipe.yaml")]
    assert main(["prepare", *places]) == 0
    fit = ["fit", *places, *recipe, "--output", str(folder / "run"), "--workers", "0"]
    assert main([*fit, "--steps", "20"]) == 0
    assert main([*fit, "--steps", "40"]) == 0
    export = [
        "export",
        "--checkpoint",
        str(folder / "run/last.pt"),
        "--output",
        str(folder / "bundle"),
    ]
    assert main([*export, "--name", "tiny", "--version", "0.0.1"]) == 0
    assert main(["publish", *places, *recipe, "--bundle", str(folder / "bundle")]) == 0
    return folder, places


def test_training_resumes_where_it_stopped(work) -> None:
    lines = [json.loads(line) for line in (work[0] / "run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]
    parts = {"total", "heatmap", "presence", "box", "giou", "identity"}
    assert all(np.isfinite(line[name]) for line in lines for name in parts)


def test_training_can_start_from_another_run(work, capsys) -> None:
    folder, places = work
    start = ["--recipe", str(folder / "recipe.yaml"), "--initial", str(folder / "run/last.pt")]
    more = ["--output", str(folder / "second"), "--workers", "0", "--steps", "1"]
    assert main(["fit", *places, *start, *more]) == 0
    assert "tensors start from" in capsys.readouterr().out
    first, second = (load_checkpoint(folder / name / "last.pt")[0] for name in ("run", "second"))
    # One step with the averaging's first, fast decay moves the weights by less than its rate.
    difference = (first.matcher.mix - second.matcher.mix).abs().max().item()
    assert 0 < difference < 0.01


def test_the_bundle_says_how_it_was_made_and_how_good_it_is(work) -> None:
    bundle = load_bundle(work[0] / "bundle", verify=True)
    assert bundle.name == "tiny" and bundle.training["steps_done"] == 40
    assert 0 < bundle.score_threshold < 1
    for source in ("aerial_sequences", "airborne_targets"):
        assert set(bundle.scores[source]) == {"refdet", "untrained_backbone", "match_template"}
        assert bundle.scores[source]["refdet"]["present"] > 0


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_the_detector_runs_it(work, backend: str) -> None:
    with Detector.open(work[0] / "bundle", backend) as detector:
        detector.set_template([Reference(np.full((40, 40, 3), 90, np.uint8))])
        result = detector.detect(np.zeros((240, 320, 3), np.uint8))
    assert set(result.presence) == {"target"}


def test_torch_and_onnxruntime_agree_on_detections(work) -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)
    results = []
    for backend in ("onnxruntime", "torch"):
        with Detector.open(work[0] / "bundle", backend) as detector:
            detector.set_template([Reference(frame, (50, 60, 110, 100))])
            results.append(detector.detect(frame, heatmaps=True))
    assert results[0].presence["target"] == pytest.approx(results[1].presence["target"], abs=1e-3)
    assert np.allclose(results[0].heatmaps["target"], results[1].heatmaps["target"], atol=1e-3)


def test_evaluate_writes_the_numbers(work) -> None:
    folder, places = work
    output = folder / "scores.json"
    assert (
        main(["evaluate", *places, "--bundle", str(folder / "bundle"), "--output", str(output)])
        == 0
    )
    scores = json.loads(output.read_text())
    assert scores["aerial_sequences"]["refdet"]["frames"] > 0


def test_a_wrong_recipe_is_refused_with_the_valid_keys(work, tmp_path, capsys) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("learning_rate: 1\n")
    code = main(["fit", *work[1], "--recipe", str(recipe), "--output", str(tmp_path / "run")])
    assert code == 2
    assert "learning_rate" in capsys.readouterr().err


def outcome(present: bool, score: float, iou: float) -> Outcome:
    return Outcome("o", "v", 0, present, score, iou, iou > 0, 10.0)


def test_summary_of_hand_made_outcomes() -> None:
    outcomes = [
        outcome(True, 0.9, 0.8),
        outcome(True, 0.8, 0.4),
        outcome(True, 0.2, 0.0),
        outcome(False, 0.7, 0.0),
        outcome(False, 0.1, 0.0),
    ]
    numbers = summarise(outcomes, 0.5)
    assert numbers["recall_iou50"] == pytest.approx(1 / 3, abs=1e-4)
    assert numbers["recall_iou30"] == pytest.approx(2 / 3, abs=1e-4)
    assert numbers["fpr"] == 0.5
    assert numbers["found"] == pytest.approx(2 / 3, abs=1e-4)
    # present 0.9 0.8 0.2 against absent 0.7 0.1: 5 of 6 pairs in the right order
    assert numbers["presence_auroc"] == pytest.approx(5 / 6, abs=1e-4)
    # precision is 1 up to both right ones, which are two of three objects
    assert numbers["ap30"] == pytest.approx(2 / 3, abs=1e-4)


def test_average_precision_of_nothing_right_is_zero() -> None:
    assert average_precision(np.array([0.5, 0.4]), np.array([False, False]), 2) == 0.0


def test_calibration_error_of_a_confident_liar_and_of_an_honest_one() -> None:
    assert expected_calibration_error(np.full(10, 0.95), np.zeros(10)) == pytest.approx(0.95)
    correct = np.array([True] * 8 + [False] * 2)
    assert expected_calibration_error(np.full(10, 0.8), correct) == pytest.approx(0.0, abs=1e-6)
