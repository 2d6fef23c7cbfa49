"""The speed benchmark: every section on the toy model, its arithmetic by hand, and its reports."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the benchmark draws plots")
pytest.importorskip("onnx", reason="graphs are made here")

import onnx

from benchmarks.speed import __main__ as command
from benchmarks.speed import (
    backends,
    cold_start,
    cpu_settings,
    end_to_end,
    int8,
    machine,
    node,
    peers,
    roofline,
    scaling,
    stages,
)
from benchmarks.speed.graph_cost import detector_inputs, profile
from benchmarks.speed.plots import write_plot
from benchmarks.speed.report import Report, as_json, as_markdown, table, text, write_report
from benchmarks.speed.roofline import Device
from benchmarks.speed.scene import object_boxes, textured_frame, tiles_of
from benchmarks.speed.section import Chart, Section, skipped
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.backends import open_backend
from refdet_core.bundle import load_bundle
from refdet_core.errors import BackendError

MISSING = {"tensorrt": "TensorRT needs a GPU", "torch": "there are no weights"}


@pytest.fixture
def tiny(colour_bundle, tmp_path):
    """Settings that take as little time as a section can."""
    return Settings(
        colour_bundle,
        threads=1,
        rounds=1,
        budget_s=0.0,
        node_seconds=0.5,
        data=tmp_path,
        frame_size=(320, 240),
        largest_frame=(640, 480),
        most_tiles=2,
    )


@pytest.fixture(autouse=True)
def fewer_cases(monkeypatch):
    """Fewer of everything that is counted up, and one backend, whatever this machine has."""

    def with_one(name, *given):
        if name in MISSING:
            raise BackendError(MISSING[name])
        return open_backend(name, *given)

    monkeypatch.setattr(backends, "open_backend", with_one)
    monkeypatch.setattr(scaling, "COUNTS", (1, 2))
    monkeypatch.setattr(scaling, "TILE_PX", 96)
    monkeypatch.setattr(cold_start, "BACKEND_NAMES", ("auto", "onnxruntime"))
    monkeypatch.setattr(roofline, "_GEMM_SIDE", 128)
    monkeypatch.setattr(roofline, "_COPY_MB", 1)


def column(section: Section, name: str) -> list:
    return [row[list(section.head).index(name)] for row in section.rows]


# ---- timing


def test_every_case_is_timed_once_a_round_in_an_order_that_changes():
    order = []
    cases = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timings = interleaved(cases, rounds=20, budget_s=60, warm_up=2)
    rounds = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert len(rounds) == 22
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) > 2
    assert {timing.rounds for timing in timings.values()} == {20}


def test_three_rounds_are_timed_however_long_they_take_and_no_more():
    timing = interleaved({"a": lambda: time.sleep(0.002)}, rounds=50, budget_s=0)["a"]
    assert timing.rounds == 3
    assert timing.p95_ms >= timing.median_ms >= timing.least_ms >= 2
    assert timing.cpu_ms < timing.median_ms  # it slept


def test_preparing_comes_before_its_case_and_is_not_timed():
    order = []
    timing = interleaved(
        {"a": lambda: order.append("run")},
        rounds=3,
        budget_s=0,
        prepare={"a": lambda: (order.append("prepare"), time.sleep(0.02))},
        warm_up=1,
    )["a"]
    assert order == ["prepare", "run"] * 4
    assert timing.median_ms < 20


# ---- the graph's cost


def test_arithmetic_and_traffic_of_a_graph_are_those_counted_by_hand(tmp_path):
    def node_of(op, inputs, output):
        return onnx.helper.make_node(op, inputs, [output], name=output)

    def value(name, *shape):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    weights = onnx.numpy_helper.from_array(np.ones((16, 8, 1, 1), np.float32), "w")
    square = onnx.numpy_helper.from_array(np.array([16, 24]), "square")
    graph = onnx.helper.make_graph(
        [
            node_of("Conv", ["x", "w"], "/first/conv"),
            node_of("Reshape", ["/first/conv", "square"], "reshaped"),
            node_of("MatMul", ["reshaped", "b"], "/second/product"),
            node_of("Exp", ["/second/product"], "z"),
        ],
        "g",
        [value("x", 1, 8, 6, 4), value("b", 24, 5)],
        [value("z", 16, 5)],
        [weights, square],
    )
    file = tmp_path / "g.onnx"
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=opset), file)
    inputs = {"x": np.ones((1, 8, 6, 4), np.float32), "b": np.ones((24, 5), np.float32)}
    operators = profile(file, inputs, rounds=2, threads=1)
    by_op = {operator.op: operator for operator in operators}
    conv, product, exponential = by_op["Conv"], by_op["MatMul"], by_op["Exp"]
    assert (conv.module, conv.macs) == ("first", 16 * 8 * 6 * 4)
    assert conv.moved == 4 * (8 * 24 + 16 * 8 + 16 * 24)
    assert (by_op["Reshape"].module, by_op["Reshape"].moved) == ("first", 0)  # as what ran before
    assert (product.module, product.macs) == ("second", 16 * 24 * 5)
    assert product.moved == 4 * (16 * 24 + 24 * 5 + 16 * 5)
    assert (exponential.module, exponential.macs) == ("second", 0)
    assert exponential.moved == 4 * 2 * 16 * 5
    assert all(operator.ms > 0 for operator in operators)


def test_the_least_time_is_that_of_the_scarcer_of_arithmetic_and_bandwidth(colour_bundle):
    bundle = load_bundle(colour_bundle)
    operators = profile(bundle.detector_graph, detector_inputs(bundle, (64, 64), 1), 1, 1)
    some = max(operators, key=lambda item: item.moved)
    assert Device(1e30, 1e6).least_ms(some) == pytest.approx(some.moved / 1e3)
    heavy = some.__class__("", "Conv", "", 1.0, 5_000_000, 4_000, "")
    assert Device(1e9, 1e9).least_ms(heavy) == pytest.approx(10)  # 2 * 5e6 / 1e9 s


# ---- sections on the toy model


def test_end_to_end_is_judged_by_the_search_of_the_whole_frame(tiny):
    section = end_to_end.measure(tiny)
    for row in section.rows:
        if row[1] == "bare network":
            assert row[3:] == [1.0, 1.0]
    judged = [row[3] for row in section.rows if row[0] == end_to_end.JUDGED]
    assert section.numbers["worst"] == max(judged)
    assert section.numbers["met"] == (max(judged) <= end_to_end.GOAL)
    assert {"bare network", "Detector.detect"} <= set(column(section, "what"))


def test_stages_sum_up_to_their_sum(tiny):
    section = stages.measure(tiny)
    names, ms = column(section, "stage"), column(section, "ms")
    end = names.index("sum")
    assert ms[end] == pytest.approx(sum(value for value in ms[:end] if value is not None))
    assert sum(share for share in column(section, "share")[:end] if share) == pytest.approx(1)
    assert "preprocess" in names
    assert any("not split" in note for note in section.notes)  # the toy network has no modules


def test_stages_share_the_network_out_by_its_modules(tiny, monkeypatch):
    inputs = detector_inputs(tiny.bundle, (64, 64), 1)
    one = profile(tiny.bundle.detector_graph, inputs, 1, 1)[0].__class__
    operators = [
        one("a", "Conv", "backbone", 6.0, 0, 0, ""),
        one("b", "Mul", "backbone", 1.0, 0, 0, ""),
        one("c", "MatMul", "matcher", 2.0, 0, 0, ""),
        one("d", "Exp", "head", 1.0, 0, 0, ""),
    ]
    monkeypatch.setattr(stages, "profile", lambda *_: operators)
    shares = stages.split(tiny, tiny.bundle, 50.0, "onnxruntime")
    assert shares == {"network: backbone": 35, "network: correlation": 10, "network: head": 5}
    assert stages.split(tiny, tiny.bundle, 50.0, "torch") == {"network": 50.0}


def test_the_roofline_adds_up(tiny):
    section = roofline.measure(tiny)
    for name in ("MB moved", "ms", "least ms possible"):
        *parts, whole = column(section, name)
        assert whole == pytest.approx(sum(parts))
        assert whole > 0
    assert section.numbers["gflops"] > 0
    assert section.numbers["gb_per_s"] > 0
    least = column(section, "least ms possible")[-1]
    assert section.numbers["share_of_limit"] == least / section.numbers["network_ms"]


def test_a_backend_that_is_missing_is_a_line_that_says_why(tiny):
    section = backends.measure(tiny)
    assert column(section, "backend") == ["onnxruntime"]
    assert set(section.notes) == {f"{name} is not measured: {why}" for name, why in MISSING.items()}


def test_more_templates_frames_and_tiles(tiny):
    templates = scaling.templates(tiny)
    assert column(templates, "templates") == [1, 2]
    assert column(templates, "to one")[0] == 1
    sizes = scaling.frame_sizes(tiny)
    assert column(sizes, "frame") == ["640x480"]  # larger ones were not asked for
    assert column(sizes, "tiles") == [1]
    tiles = scaling.tiles(tiny)
    assert column(tiles, "tiles") == [1, 2]
    assert all(value > 0 for row in tiles.rows for value in row)


def test_settings_of_the_runtime_are_compared_with_the_adopted_ones(tiny):
    section = cpu_settings.measure(tiny)
    first, *others = section.rows
    assert first[0] == "adopted: 1 thread(s), no spinning"
    assert first[2:4] == [1.0, 1.0]
    assert {"spinning", "not optimised"} <= {row[0] for row in others}


def test_without_videos_or_weights_there_is_a_reason(tiny):
    assert "splits.json" in int8.measure(tiny).notes[0]
    section = peers.measure(tiny)
    assert any(note.startswith("cv2.TrackerNano is not measured: ") for note in section.notes)
    assert column(section, "to refdet followed")[0] == 1


def test_eight_bits_are_measured_where_there_are_videos(tiny, data, monkeypatch):
    monkeypatch.setattr(int8, "_VIDEOS", 1)
    released = Settings(threads=1, rounds=1, budget_s=0.0, data=data)
    section = int8.measure(released)
    assert column(section, "") == ["float32", "int8"]
    assert section.rows[0][-1] == "2 of 2"
    assert section.numbers["ratio"] > 0
    assert section.numbers["score_change"] > 0  # it was quantised


def test_a_fresh_process_tells_its_phases_and_memory(tiny):
    section = cold_start.cold_start(tiny)
    ms = column(section, "onnxruntime ms")
    assert ms[-1] == pytest.approx(sum(ms[:-2]))  # all phases until the first detection
    assert all(value > 0 for value in ms)
    memory = cold_start.memory(tiny)
    for row in memory.rows:
        imported, opened, detecting, peak = row[2:6]
        assert 0 < imported <= opened <= detecting * 1.01 <= peak * 1.02
    assert column(memory, "frame") == ["320x240", "640x480"]


def test_a_backend_that_does_not_open_in_a_fresh_process_is_a_line(tiny, monkeypatch):
    monkeypatch.setattr(cold_start, "BACKEND_NAMES", ("auto", "nonsense"))
    assert cold_start.cold_start(tiny).notes[0].startswith("nonsense is not measured: Unknown")
    assert cold_start.memory(tiny).notes[0].startswith("nonsense is not measured: Unknown")


def test_without_ros_the_node_is_a_reason(tiny, monkeypatch):
    monkeypatch.setattr(node, "_MODULES", ("no_such_ros",))
    (note,) = node.measure(tiny).notes
    assert note.startswith("Not measured: ROS 2 with refdet_ros and refdet_msgs is needed")


@pytest.mark.slow
def test_the_node_is_measured_from_stamp_to_detections(tiny, monkeypatch):
    pytest.importorskip("refdet_msgs", reason="needs ROS 2")
    monkeypatch.setattr(node, "FLOWS", (("tiles", "raw"), ("auto", "compressed")))
    section = node.measure(tiny, rates_hz=(10.0,))
    assert column(section, "transport") == ["raw", "compressed"]
    assert all(rate > 2 for rate in column(section, "processed Hz"))
    assert all(share > 0 for share in column(section, "CPU of the node, % of a core"))
    assert section.numbers["set_template"]["median_ms"] > 0


# ---- scene


def test_boxes_lie_apart_inside_the_frame():
    boxes = object_boxes((320, 240), 20)
    assert len(set(boxes)) == 20
    assert all(0 <= x1 < x2 <= 320 and 0 <= y1 < y2 <= 240 for x1, y1, x2, y2 in boxes)
    assert textured_frame((320, 240)).shape == (240, 320, 3)


def test_tiles_are_those_of_the_search(colour_bundle):
    (crop,) = tiles_of((1280, 720), load_bundle(colour_bundle))
    assert (crop.out_width, crop.out_height) == (1280, 720)


# ---- reports


def found():
    return {
        "one": Section(
            "One",
            ("what", "ms", "more"),
            [["a", 1.234, None], ["b", 12.34, math.nan], ["c", 1234.0, 7]],
            ["A note."],
            Chart("bars", "ms", {"": [("a", 1.0), ("b", 2.0)]}, goal=1.5),
            {"ratio": 2.0},
        ),
        "two": skipped("Two", "it is not there."),
        "three": Section(
            "Three", chart=Chart("lines", "ms", {"x": [(1, 2.0), (2, 3.0)]}, "templates")
        ),
        "four": Section("Four", chart=Chart("waterfall", "ms", {"": [("a", 1.0), ("b", 2.0)]})),
    }


def test_numbers_have_the_digits_that_mean_something():
    cells = (1.234, 12.34, 123.4, None, math.nan, 7, "a")
    assert [text(cell) for cell in cells] == ["1.23", "12.3", "123", "–", "–", "7", "a"]
    assert table(("a", "b"), [["x", 1.0]]) == "| a   | b    |\n|-----|------|\n| x   | 1.00 |"


def test_reports_hold_every_section(tmp_path):
    report = Report({"processor": "quick"}, Settings(data=tmp_path), found())
    write_report(report, tmp_path / "out")
    read = json.loads((tmp_path / "out" / "results.json").read_text())
    assert read == json.loads(json.dumps(as_json(report)))
    assert read["machine"] == {"processor": "quick"}
    assert read["sections"]["one"]["rows"][1] == ["b", 12.34, None]
    assert read["sections"]["one"]["numbers"] == {"ratio": 2.0}
    assert read["settings"]["data"] == str(tmp_path)
    markdown = (tmp_path / "out" / "table.md").read_text()
    assert markdown == as_markdown(report)
    assert "| b    | 12.3 | –    |" in markdown
    assert "## Two\n\n- Not measured: it is not there." in markdown


def test_pictures_are_drawn_of_what_has_a_chart(tmp_path):
    write_plot(found(), tmp_path / "all.png")
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    write_plot({"two": found()["two"]}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_one_section_that_fails_keeps_the_others(tiny, tmp_path, monkeypatch, capsys):
    def broken(_):
        raise ZeroDivisionError("by zero")

    def unavailable(_):
        raise BackendError("not here")

    sections = {"bad": broken, "away": unavailable, "good": lambda _: found()["one"]}
    monkeypatch.setattr(command, "SECTIONS", sections)
    assert command.run(tiny, list(sections), tmp_path / "out") == ["bad"]
    written = json.loads((tmp_path / "out" / "results.json").read_text())["sections"]
    assert list(written) == ["bad", "away", "good"]
    assert "ZeroDivisionError: by zero" in written["bad"]["notes"][0]
    assert written["away"]["notes"] == ["Not measured: not here"]
    assert (tmp_path / "out" / "benchmark.png").exists()
    assert "## One" in capsys.readouterr().out


def test_only_known_sections_are_taken():
    with pytest.raises(SystemExit):
        command.arguments().parse_args(["--only", "nonsense"])
    assert command.arguments().parse_args(["--only", "node"]).only == ["node"]
    assert command.arguments().parse_args([]).only == list(command.SECTIONS)


def test_the_processor_is_described(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text("model name\t: Quick 9\nflags\t\t: fpu avx2 amx_bf16 fma\n")
    monkeypatch.setattr(machine, "_CPUINFO", file)
    monkeypatch.setattr(machine, "_BOARD", tmp_path / "none")
    assert machine.cpu_model() == "Quick 9"
    assert machine.cpu_flags() == ["avx2", "fma", "amx_bf16"]
    board = tmp_path / "model"
    board.write_text("NVIDIA Jetson Xavier NX\0")
    monkeypatch.setattr(machine, "_BOARD", board)
    file.write_text("Features\t: fp asimd asimddp\n")
    assert machine.cpu_model().endswith(", NVIDIA Jetson Xavier NX")
    assert machine.cpu_flags() == ["asimd", "asimddp"]
    assert machine.package_version("no-such-package") == "not installed"
    assert {"processor", "onnxruntime", "load average"} <= set(machine.describe())
