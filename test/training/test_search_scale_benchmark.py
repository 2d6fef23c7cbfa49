"""The benchmark of search scales: what its policies choose, and numbers of looks made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the benchmark draws plots")

from benchmarks.search_scale.looks import SCALES, Look, name_of, read_looks
from benchmarks.search_scale.plot import write_plot
from benchmarks.search_scale.policies import KNOWN_SIZE, PHOTO, all_policies
from benchmarks.search_scale.results import Looks
from benchmarks.search_scale.table import to_markdown
from refdet_training.datasets.instance import FrameRef, Instance
from refdet_training.evaluation.detection_protocol import DetectionProtocol

BOX, ELSEWHERE = (100.0, 100.0, 124.0, 124.0), (500.0, 300.0, 524.0, 324.0)


def instance(video: str) -> Instance:
    frames = {number: FrameRef(Path(f"{video}.mp4"), number) for number in range(30)}
    return Instance("1", video, "flights", video, "car", frames, dict.fromkeys(frames, BOX))


CAR, VAN = instance("car"), instance("van")


def look(number: int, scale: float) -> Look:
    """The car is found from scale 1 on; the van, which is not there, is seen nowhere."""
    place = BOX if scale >= 1 else ELSEWHERE
    answers = {name_of(CAR): [[*place, 0.9]], name_of(VAN): [[*ELSEWHERE, 0.1]]}
    return Look(name_of(CAR), number, scale, (1280, 720), answers)


LOOKS = Looks(
    [look(number, scale) for number in (10, 20) for scale in SCALES],
    [CAR, VAN],
    DetectionProtocol(),
)


@pytest.mark.parametrize(("name", "recall"), [("0.5", 0.0), ("1", 1.0), (KNOWN_SIZE, 1.0)])
def test_a_policy_sees_what_its_scales_show(name: str, recall: float) -> None:
    (policy,) = [policy for policy in all_policies(48.0) if policy.name == name]
    result = LOOKS.result(policy, 0.5, dict.fromkeys(SCALES, 100.0))
    assert result.numbers["recall_iou50"] == recall
    assert (result.numbers["frames"], result.numbers["present"]) == (4, 2)
    assert result.numbers["fpr"] == 0.0


def test_time_grows_with_the_pixels() -> None:
    times = {
        policy.name: LOOKS.result(policy, 0.5, dict.fromkeys(SCALES, 100.0)).cpu_ms
        for policy in all_policies(48.0)
    }
    assert times["1"] == pytest.approx(92.16)
    assert times["2"] == pytest.approx(4 * times["1"])
    assert times[KNOWN_SIZE] == pytest.approx((4 + 1 / 4) * times["1"])  # 24 px: 2 and 0.5


def test_recall_by_size_in_the_network() -> None:
    found = {round(one.middle_px): one.recall for one in LOOKS.recall_by_network_size()}
    assert found[27] == 1.0 and found[13] == 0.0
    assert sum(one.frames for one in LOOKS.recall_by_network_size()) == 2 * len(SCALES) - 2


def test_table_and_plot_hold_every_policy(tmp_path: Path) -> None:
    results = [
        LOOKS.result(policy, 0.5, dict.fromkeys(SCALES, 100.0)) for policy in all_policies(48.0)
    ]
    table = to_markdown(results)
    assert all(f"| {name} |" in table for name in ("0.12", "2", KNOWN_SIZE, PHOTO))
    write_plot(results, {"flights": LOOKS.recall_by_network_size()}, 48.0, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_without_a_file_nothing_was_kept(tmp_path: Path) -> None:
    assert read_looks(tmp_path / "none.jsonl") == []
