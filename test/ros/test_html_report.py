"""The HTML report of evaluate_bag: what is in it, and which moments it shows."""

import re

import cv2
import numpy as np
import pytest

from refdet_core.drawing import contact_sheet
from refdet_core.metrics import GroundTruth
from refdet_core.types import Detection, Reference
from refdet_ros.bags.html_report import write_html_report
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.replay import Answer, Replay
from refdet_ros.bags.report import score_targets
from refdet_ros.bags.targets import Target
from refdet_ros.bags.worst_moments import PER_KIND, worst_moments
from refdet_ros.bags.writing import ImageBagWriter
from refdet_ros.demo import pictures

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
BOX, FAR = (20.0, 20.0, 60.0, 50.0), (100.0, 80.0, 140.0, 110.0)


def replay_of(answers):
    """``{frame: (box, score) or None}`` as a replay of a template called ``name``."""
    return Replay(
        "offline",
        len(answers),
        {
            number: Answer(() if found is None else (Detection("car", found[1], found[0], 1),), 5.0)
            for number, found in answers.items()
        },
        wall_s=1.0,
    )


def target(boxes, last, name="car"):
    return Target(name, (), GroundTruth(name, (0, last), boxes))


def test_the_worst_of_each_kind_apart_from_each_other():
    answers = dict.fromkeys(range(60), (BOX, 0.9))
    answers.update(dict.fromkeys(range(10, 20)))  # missed for ten frames
    answers.update(dict.fromkeys(range(30, 32)))  # and for two
    answers[40] = (FAR, 0.8)  # the wrong place
    boxes = dict.fromkeys(range(50), BOX)  # gone from 50 on
    moments = worst_moments(replay_of(answers), [target(boxes, 59)], 0.5, apart=4)
    by_kind = {}
    for moment in moments:
        by_kind.setdefault(moment.kind, []).append(moment.frame)
    assert by_kind["missed"] == [15, 31]
    assert by_kind["wrong_place"] == [40]
    assert by_kind["false_alarm"] == [50, 54, 58]
    assert "weakest" not in by_kind


def test_without_a_truth_the_least_probable_are_shown():
    answers = {number: (BOX, 0.5 + number / 100) for number in range(40)}
    moments = worst_moments(replay_of(answers), [Target("car", ())], 0.5, apart=10)
    assert [moment.frame for moment in moments] == [0, 10, 20, 30][:PER_KIND]


def test_nothing_answered_has_no_moments():
    assert worst_moments(replay_of({}), [target({0: BOX}, 5), Target("b", ())], 0.5, 1) == []


@pytest.fixture
def bag(tmp_path):
    with ImageBagWriter(tmp_path / "bag", topic="camera/image") as writer:
        for number in range(6):
            writer.write(np.full((120, 160, 3), 20 * number, np.uint8), 10**18 + number * 10**8)
    with Bag(tmp_path / "bag") as bag:
        yield bag


def test_the_page_has_everything_inside(bag, tmp_path):
    answers = dict.fromkeys(range(5), (BOX, 0.9))
    answers[2] = None
    replay = replay_of(answers)
    targets = [target(dict.fromkeys(range(4), BOX), 5), Target("<i>$van</i>", ())]
    results = score_targets(replay, targets)
    topic = bag.image_topic()
    out = tmp_path / "out"
    page = write_html_report(out, bag, topic, replay, targets, results, 0.5).read_text()
    assert "recall@0.5" in page and "frame 4" in page
    assert "<i>" not in page and "&lt;i&gt;$van&lt;/i&gt;" in page
    # Nothing is fetched: every picture is in the page.
    sources = re.findall(r'src="([^"]{10})', page)
    assert len(sources) >= 5 and set(sources) == {"data:image"}
    assert {path.suffix for path in (out / "pictures").iterdir()} == {".png", ".jpg"}
    before = sorted(path.name for path in (out / "pictures").iterdir())
    write_html_report(out, bag, topic, replay, targets, results, 0.5)
    assert sorted(path.name for path in (out / "pictures").iterdir()) == before


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        (
            {4: (FAR, 0.8)},
            ["score 0.90, IoU 1.00", "score 0.90, IoU 1.00", "score 0.80, not in view"],
        ),
        ({1: (FAR, 0.8)}, ["score 0.90, IoU 1.00", "score 0.90, IoU 1.00", "score 0.80, IoU 0.00"]),
        ({}, ["score 0.90, IoU 1.00"] * 3),
    ],
    ids=["reported while away", "at the wrong place", "nothing wrong"],
)
def test_the_demo_s_sheet_ends_with_the_worst_answer(bag, tmp_path, monkeypatch, answers, shown):
    captions = []

    def keep(cells, texts, columns, size):
        captions.extend(texts)
        return contact_sheet(cells, texts, columns, size)

    monkeypatch.setattr(pictures, "contact_sheet", keep)
    replay = replay_of({**dict.fromkeys(range(4), (BOX, 0.9)), 4: None, 5: None, **answers})
    photo = Reference(np.zeros((40, 40, 3), np.uint8))
    car = Target("car", (photo,), GroundTruth("car", (0, 5), dict.fromkeys(range(4), BOX)))
    path = tmp_path / "sheet.png"
    pictures.write_contact_sheet(path, bag, bag.image_topic(), replay, [car])
    assert cv2.imread(str(path)) is not None
    assert [text.split(": ")[1] for text in captions] == ["reference 1 of 1", *shown]


def test_missing_packages_are_named(monkeypatch):
    import sys

    from refdet_core.errors import ConfigError
    from refdet_core.report.page import check_packages

    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match="pip install jinja2"):
        check_packages()
