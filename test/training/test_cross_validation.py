"""Folds of places: who is trained on what, and what is made of all folds together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn")

from refdet_core.bundle import BUNDLES_FOLDER, load_bundle, refinement_rule
from refdet_core.errors import ConfigError, SourceError
from refdet_training.cli import main
from refdet_training.datasets.index import write_index, write_splits
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.splits import is_fold, read_splits
from refdet_training.evaluation.cross_validation import (
    folds_of,
    pool,
    read_predictions,
    spread,
    table,
    write_predictions,
)
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    Prediction,
)
from refdet_training.evaluation.fold_tracks import NUMBERS as FOLLOWED
from refdet_training.evaluation.fold_tracks import FollowedObject
from refdet_training.evaluation.fold_tracks import table as follow_table
from refdet_training.evaluation.held_out import Look, RawPrediction

BOX = (10.0, 10.0, 30.0, 30.0)
AWAY = (50.0, 50.0, 70.0, 70.0)


def prediction(fold, number, score, box=BOX, truth=BOX):
    own = truth is not None
    found = Prediction(
        "clips",
        f"video{fold}",
        "it",
        f"video{fold}" if own else f"other{number % 40}",
        number,
        FrameRef(Path()),
        score,
        box,
        truth,
    )
    shown = f"place{fold}" if own else f"else{number % 40}"
    return RawPrediction(f"place{fold}", shown, found)


def fold_of(fold, right, wrong, absent_score):
    """Right answers score 0.9, wrong ones 0.2, frames without the object as told."""
    rng = np.random.default_rng(fold)
    found = [prediction(fold, i, 0.9 - 0.1 * rng.random()) for i in range(right)]
    found += [prediction(fold, 100 + i, 0.2 + 0.1 * rng.random(), AWAY) for i in range(wrong)]
    scores = absent_score + 0.05 * rng.random(80)
    return found + [prediction(fold, 200 + i, float(s), AWAY, None) for i, s in enumerate(scores)]


def test_places_and_folds_become_splits(tmp_path) -> None:
    file = tmp_path / "places.json"
    file.write_text(
        json.dumps({"places": {"lake": ["a", "b"], "road": ["c"]}, "folds": [["lake"], ["road"]]})
    )
    splits = read_splits(file, ["clips"])
    assert splits == {"fold0": ["a", "b"], "fold1": ["c"]}
    assert is_fold("fold0") and is_fold("fold12")
    assert not any(is_fold(name) for name in ("fold", "train", "folder1", "foldx"))
    file.write_text(json.dumps({"places": {"lake": ["a"]}, "folds": [["sea"]]}))
    with pytest.raises(ConfigError, match="sea"):
        read_splits(file, ["clips"])


def test_data_without_folds_is_refused(tmp_path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "index.parquet").write_bytes(b"")
    write_splits(tmp_path / "clips", {"train": ["a"], "val": ["b"]})
    with pytest.raises(SourceError, match="--splits"):
        folds_of(tmp_path)
    write_splits(tmp_path / "clips", {"fold0": ["a"], "fold1": ["b"], "fold2": []})
    assert folds_of(tmp_path) == [0, 1]


def test_all_folds_together_give_threshold_and_numbers() -> None:
    folds = {0: fold_of(0, 30, 10, 0.1), 1: fold_of(1, 20, 20, 0.1)}
    numbers = pool(folds, DetectionProtocol(), 0.05)
    assert numbers.by_fold[0]["recall_iou50"] == 0.75
    assert numbers.by_fold[1]["recall_iou50"] == 0.5
    assert numbers.numbers["recall_iou50"] == 0.625
    assert numbers.numbers["fpr"] <= 0.05 and numbers.numbers["found"] == 0.625
    assert spread(numbers, "recall_iou50") == (0.625, 0.125)
    right = numbers.calibration(np.array([0.88]), np.array([0.5]))
    wrong = numbers.calibration(np.array([0.12]), np.array([0.5]))
    assert right > 0.8 > 0.2 > wrong, "scores became probabilities"
    text = table({"ours": numbers})
    assert "| ours | 1 | 0.50" in text and "0.62 ± 0.12" in text


def test_predictions_are_kept_as_they_were(tmp_path) -> None:
    found = fold_of(0, 3, 2, 0.1)
    write_predictions(tmp_path / "p.json", found)
    again = read_predictions(tmp_path / "p.json")
    assert [item.prediction.score for item in again] == [item.prediction.score for item in found]
    assert [item.prediction.iou for item in again] == [item.prediction.iou for item in found]
    assert [item.shown_family for item in again] == [item.shown_family for item in found]


def looked_at_again(fold, right, tight, wrong, twins=0):
    """Loose first candidates and true second ones; the tracking network knows which is which, but
    for twins."""

    def with_looks(item, second_look_scores, boxes):
        looks = [
            Look(box, score, box, again)
            for box, score, again in zip(boxes, (0.6, 0.5), second_look_scores, strict=True)
        ]
        first = replace(item.prediction, box_xyxy=boxes[0], score=0.6)
        return replace(item, prediction=first, looks=tuple(looks))

    rng = np.random.default_rng(fold)
    noise = 0.05 * rng.random(right + tight + 2 * wrong)
    found = [
        with_looks(prediction(fold, 200 + i, 0.6), (0.97, 0.95), (BOX, AWAY)) for i in range(twins)
    ]
    found += [
        with_looks(prediction(fold, i, 0.6), (0.9 + noise[i], 0.05 + noise[i]), (BOX, AWAY))
        for i in range(right)
    ]
    found += [
        with_looks(prediction(fold, 50 + i, 0.6), (0.05 + noise[i], 0.9 + noise[i]), (AWAY, BOX))
        for i in range(tight)
    ]
    return found + [
        with_looks(prediction(fold, 100 + i, 0.6, truth=None), (0.05 + noise[i], 0.04), (AWAY, BOX))
        for i in range(wrong)
    ]


def test_a_second_look_is_weighed_and_changes_the_answers() -> None:
    folds = {fold: looked_at_again(fold, 20, 10, 60) for fold in (0, 1)}
    alone = pool(folds, DetectionProtocol(), 0.05)
    again = pool(folds, DetectionProtocol(), 0.05, ["fear"])
    assert alone.refinement is None
    assert again.refinement.tracker == "fear" and again.refinement.embedding == ""
    assert again.refinement.other_photos.tracker > 0
    assert alone.numbers["recall_iou50"] == pytest.approx(2 / 3, abs=1e-3)
    assert again.numbers["recall_iou50"] == 1.0
    assert again.numbers["found"] == 1.0 and again.numbers["fpr"] <= 0.05
    assert again.numbers["ece"] < 0.1, "the answers after the second look are probabilities"
    assert again.as_dict()["refinement"]["tracker"] == "fear"
    assert again.numbers["elsewhere"] == 0.0 and "elsewhere" not in alone.numbers


def test_what_else_in_the_scene_would_be_reported_is_counted() -> None:
    folds = {fold: looked_at_again(fold, 30, 10, 60, twins=5) for fold in (0, 1)}
    numbers = pool(folds, DetectionProtocol(), 0.05, ["fear"])
    assert numbers.numbers["elsewhere"] == pytest.approx(5 / 45)
    assert "Something else reaches it in 0.11" in table({"net": numbers})


def test_features_and_colours_are_weighed_and_photos_do_without_colours() -> None:
    """The networks' scores say nothing here; features say a little, colours everything."""

    def told_by_colour(item, seed):
        rng = np.random.default_rng(seed)
        looks = []
        for look in item.looks:
            right = item.prediction.truth_xyxy is not None and look.tracker_box_xyxy == BOX
            cosine = 0.6 + 0.1 * right + 0.1 * rng.random()
            overlap = 0.2 + 0.6 * right
            looks.append(replace(look, tracker_score=0.5, cosine=cosine, overlap=overlap))
        return replace(item, looks=tuple(looks))

    folds = {
        fold: [told_by_colour(item, i) for i, item in enumerate(looked_at_again(fold, 20, 10, 60))]
        for fold in (0, 1)
    }
    numbers = pool(folds, DetectionProtocol(), 0.05, ["fear", "lighttrack", "other"])
    rule = numbers.refinement
    assert (rule.tracker, rule.embedding) == ("fear", "lighttrack+other")
    assert rule.same_camera.colours > 0 and rule.other_photos.colours == 0
    assert rule.other_photos.embedding > rule.same_camera.embedding > 0
    assert numbers.numbers["recall_iou50"] == 1.0
    assert refinement_rule(numbers.as_dict()["refinement"]) == rule


def test_publish_judges_followed_targets_as_the_released_bundle_does(tmp_path) -> None:
    folds = {
        fold: [
            replace(item, looks=tuple(replace(look, cosine=0.5) for look in item.looks))
            for item in looked_at_again(fold, 20, 10, 20)
        ]
        for fold in (0, 1)
    }
    bundle = shutil.copytree(BUNDLES_FOLDER / "small", tmp_path / "bundle")
    released, numbers = load_bundle().refinement, tmp_path / "cross_validation.json"
    for networks, expected in (
        ((released.tracker, *released.embedding.split("+")), released.followed),
        ((released.tracker, "lighttrack"), None),
    ):
        found = pool(folds, DetectionProtocol(), 0.05, networks)
        numbers.write_text(json.dumps({"mine": found.as_dict()}))
        given = ["publish", "--bundle", str(bundle), "--data", str(tmp_path)]
        assert main([*given, "--cross-validation", str(numbers)]) == 0
        published = load_bundle(bundle)
        assert published.score_threshold == found.threshold
        assert published.refinement.same_camera == found.refinement.same_camera
        assert published.refinement.followed == expected


def test_looks_are_kept_as_they_were(tmp_path) -> None:
    found = looked_at_again(0, 2, 1, 1)
    write_predictions(tmp_path / "p.json", found)
    assert [item.looks for item in read_predictions(tmp_path / "p.json")] == [
        item.looks for item in found
    ]


def test_the_command_measures_what_is_there_and_publish_takes_it(
    tmp_path, capsys, monkeypatch
) -> None:
    write = tmp_path / "prepared" / "clips"
    write.mkdir(parents=True)
    (write / "index.parquet").write_bytes(b"")
    write_splits(write, {"fold0": ["a"], "fold1": ["b"]})
    for fold, found in {0: fold_of(0, 30, 10, 0.1), 1: fold_of(1, 20, 20, 0.1)}.items():
        folder = tmp_path / "out" / f"fold{fold}"
        (folder / "bundle").mkdir(parents=True)
        write_predictions(folder / "predictions_mine.json", found)
    given = ["cross-validate", "--recipe", "mine.yaml", "--data", str(tmp_path / "prepared")]
    assert main([*given, "--output", str(tmp_path / "out"), "--folds", "7"]) == 2
    assert "[0, 1]" in capsys.readouterr().err
    other = tmp_path / "out" / "fold0" / "bundle" / "bundle.yaml"
    other.write_text((BUNDLES_FOLDER / "fear" / "bundle.yaml").read_text())
    for name in ("template_encoder.onnx", "detector.onnx"):
        (other.parent / name).write_bytes((BUNDLES_FOLDER / "fear" / name).read_bytes())
    assert main([*given, "--output", str(tmp_path / "out")]) == 2
    assert "recipe fear" in capsys.readouterr().err
    other.unlink()
    assert main([*given, "--output", str(tmp_path / "out")]) == 0
    assert "| **mine** | **pooled** | 0.62" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "out" / "cross_validation.json").read_text())
    assert numbers["mine"]["pooled"]["recall_iou50"] == 0.625
    assert (tmp_path / "out" / "cross_validation.md").is_file()


def with_features(predictions, of_the_object, of_others):
    """The same; what the looks at the object's box show has these features."""

    def shown(look):
        return of_the_object if look.box_xyxy == BOX else of_others

    return [
        replace(
            item,
            looks=tuple(replace(look, features=shown(look), cosine=0.5) for look in item.looks),
            references=((1.0, 0.0, 0.0),),
        )
        for item in predictions
    ]


def test_cosines_are_compared_with_a_cohort_of_the_other_folds() -> None:
    """The object of each fold looks like its reference, other things like each other."""
    folds = {
        fold: with_features(
            looked_at_again(fold, 20, 10, 20), (0.8, 0.0, 0.6), (0.0, *np.roll([1.0, 0.0], fold))
        )
        for fold in (0, 1)
    }
    numbers = pool(folds, DetectionProtocol(), 0.05, ["fear", "light"])
    assert numbers.refinement.other_photos.relative > 0
    assert numbers.cohort is not None
    things, known = np.array([[0.0, 1.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    assert numbers.cohort.relative_cosines(things, known)[0] < 0, "all folds' others are in it"
    one = pool({0: folds[0]}, DetectionProtocol(), 0.05, ["fear", "light"])
    assert one.cohort is None and one.refinement.other_photos.relative == 0


def test_features_are_kept(tmp_path) -> None:
    found = with_features(looked_at_again(0, 2, 1, 1), (1.0, 0.0), (0.0, 1.0))
    write_predictions(tmp_path / "p.json", found)
    again = read_predictions(tmp_path / "p.json")
    assert [item.looks for item in again] == [item.looks for item in found]
    assert [item.references for item in again] == [item.references for item in found]


def wandering(folder: Path, split: str) -> None:
    """A prepared data set with a textured thing on another texture, which moves to the right."""
    rng = np.random.default_rng(0)
    ground, thing = (
        cv2.resize(rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8), (side, side))
        for side in (320, 56)
    )
    (folder / "a").mkdir(parents=True)
    rows = []
    for number in range(10):
        frame, x = ground.copy(), 60 + 6 * number
        frame[120:176, x : x + 56] = thing
        cv2.imwrite(str(folder / "a" / f"{number}.png"), frame)
        row = {"source": "clips", "kind": "", "video_frame": -1, "frame": number}
        row |= {"video_id": "a", "object_id": "it", "family": "a", "picture": f"a/{number}.png"}
        rows.append(row | {"x1": x, "y1": 120.0, "x2": x + 56.0, "y2": 176.0})
    write_index(folder, rows)
    write_splits(folder, {split: ["a"]})


def test_objects_are_followed_too_and_backbones_measured_without_training(tmp_path, capsys) -> None:
    pytest.importorskip("torch")
    wandering(tmp_path / "prepared" / "clips", "fold0")
    fold = tmp_path / "out" / "fold0"
    shutil.copytree(BUNDLES_FOLDER / "small", fold / "bundle")
    recipe = load_bundle(fold / "bundle").name
    write_predictions(fold / f"predictions_{recipe}.json", fold_of(0, 30, 10, 0.1))
    write_predictions(fold / "predictions_zero_shot_fear_xs.json", fold_of(0, 20, 20, 0.1))
    given = ["cross-validate", "--recipe", f"{recipe}.yaml", "--data", str(tmp_path / "prepared")]
    given += ["--output", str(tmp_path / "out"), "--zero-shot", "fear_xs=weights.onnx"]
    assert main([*given, "--follow", "10"]) == 0
    printed = capsys.readouterr().out
    assert "| **fear_xs, zero-shot** | **pooled** | 0.50" in printed
    assert (tmp_path / "out" / "cross_validation.md").read_text().strip() in printed
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    followed = {row[0].strip("| "): float(row[2]) for row in rows if row[1] == "1"}
    assert list(followed) == [
        f"{recipe} track",
        f"{recipe} auto",
        "lighttrack",
        "fear",
        "nanotrackv3",
        "lighttrack+fear+nanotrackv3",
    ]
    assert followed["lighttrack"] > 0.6 and followed["lighttrack+fear+nanotrackv3"] > 0.6
    again = load_bundle(fold / "searching")
    numbers = json.loads((tmp_path / "out" / "cross_validation.json").read_text())
    assert again.score_threshold == numbers[recipe]["threshold"]
    for kept in fold.glob("tracks_*.json"):
        content = json.loads(kept.read_text())
        kept.write_text(json.dumps([{**content[0], "numbers": dict.fromkeys(FOLLOWED, 0.25)}]))
    assert main([*given, "--follow", "10"]) == 0
    assert "| 1 | 0.250 | 0.250 | 0.250 | 0.250 | 0.250 ± 0.000 |" in capsys.readouterr().out


def test_following_is_shown_by_fold() -> None:
    def followed(auc):
        return FollowedObject("v", "o", dict(zip(FOLLOWED, (auc, 1.0, None), strict=True)))

    shown = follow_table({"mine": {0: [followed(0.2), followed(0.4)], 3: [followed(0.9)]}})
    assert shown.splitlines()[2:] == [
        "| mine | 3 | 0.500 | 1.000 | – | 0.300 | 0.900 | 0.600 ± 0.300 |"
    ]
    assert "fold 0" in shown and "fold 3" in shown
    assert "| nothing | 0 | – | – | – | – |" in follow_table({"nothing": {0: []}})
