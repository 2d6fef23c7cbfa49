"""Export: reproducible, equal to torch, and nothing in the graphs that TensorRT 8.4 refuses."""

from __future__ import annotations

import argparse
import hashlib

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("onnx", reason="export needs onnx")

import onnx
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

from refdet_core.bundle import DEFAULT_BUNDLE, load_bundle
from refdet_core.calibration import Calibration
from refdet_core.crop_rule import CropRule
from refdet_core.errors import BundleError, ConfigError
from refdet_core.model.siamese import Siamese, SiameseConfig
from refdet_training import checkpoints
from refdet_training.commands import export as command
from refdet_training.export import bundle as bundle_module
from refdet_training.export import check_bundle, check_graph, export_bundle, parity, publish

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
TRAINING = {
    "data": {"pairs": {"template_context": 0.4, "template_size": 32}},
    "steps": 7,
    "sources": {"made": 3},
}


def tiny(matcher: str = "pixelwise") -> Siamese:
    torch.manual_seed(0)
    config = SiameseConfig(
        backbone="resnet18",
        strides=(8, 16),
        channels=8,
        matcher=matcher,
        img_size=64,
        heatmap_size=8,
        template_size=32,
        hidden=4,
    )
    return Siamese(config).eval()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "tiny"
    return export_bundle(tiny(), folder, "tiny", "0.1", CropRule(32, 0.4), None, None, TRAINING)


# --- bundles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("matcher", ["depthwise", "pixelwise"])
def test_every_matcher_exports_to_what_tensorrt_takes(tmp_path, matcher: str) -> None:
    model = tiny(matcher)
    made = export_bundle(model, tmp_path / "b", "b", "1")
    assert check_bundle(made) == []
    assert parity(model, load_bundle(tmp_path / "b", verify=True)) < 1e-3


def test_the_released_bundle_is_taken() -> None:
    assert check_bundle(load_bundle()) == []


def test_the_same_weights_give_the_same_files(bundle, tmp_path) -> None:
    torch.rand(5)  # the state of the random numbers must not matter
    again = export_bundle(tiny(), tmp_path / "again", "other name", "2")
    assert again.sha256 == bundle.sha256
    assert set(again.sha256) == {"template_encoder.onnx", "detector.onnx", "weights.pt"}


def test_other_weights_give_other_files(bundle, tmp_path) -> None:
    model = tiny()
    with torch.no_grad():
        model.head.score.bias += 1
    again = export_bundle(model, tmp_path / "again", "tiny", "2")
    assert again.sha256["detector.onnx"] != bundle.sha256["detector.onnx"]
    assert again.sha256["template_encoder.onnx"] == bundle.sha256["template_encoder.onnx"]


def test_the_description_says_how_the_network_is_built_and_trained(bundle) -> None:
    loaded = load_bundle(bundle.folder, verify=True)
    assert loaded.sha256 == bundle.sha256
    assert (loaded.name, loaded.version, loaded.template_crop.context) == ("tiny", "0.1", 0.4)
    assert loaded.kernel_shape == (8, 3, 3)
    assert loaded.stride == 8 and loaded.frame_multiple == 16
    assert loaded.training == TRAINING
    text = (bundle.folder / "bundle.yaml").read_text()
    assert yaml.safe_load(text)["model"]["strides"] == [8, 16]


def test_paths_and_numpy_numbers_of_a_run_become_plain_yaml(tmp_path) -> None:
    """The folders of the machine that trained stay there."""
    training = {
        "data": {"data_dir": str(tmp_path / "prepared"), "shares": None},
        "weights": tmp_path / "w.pth",
        "recipe": "recipes/small.yaml",
        "lr": np.float64(0.5),
        "tune": ("a", "b"),
    }
    export_bundle(tiny(), tmp_path / "b", "b", "1", training=training)
    assert load_bundle(tmp_path / "b").training == {
        "data": {"data_dir": "prepared", "shares": None},
        "weights": "w.pth",
        "recipe": "recipes/small.yaml",
        "lr": 0.5,
        "tune": ["a", "b"],
    }


def test_publishing_stores_calibration_and_scores(tmp_path) -> None:
    made = export_bundle(tiny(), tmp_path / "b", "b", "1")
    publish(made, Calibration(2.0, 0.5, -1.0), 0.7, {"ap50": np.float32(0.25)})
    loaded = load_bundle(tmp_path / "b", verify=True)
    assert loaded.calibration == Calibration(2.0, 0.5, -1.0)
    assert loaded.score_threshold == 0.7 and loaded.scores == {"ap50": 0.25}


def test_equal_weights_reach_their_convolutions_directly(bundle) -> None:
    """A fresh network's batch norms are equal; torch merges them behind Identity nodes."""
    for path in (bundle.template_graph, bundle.detector_graph):
        graph = onnx.load(path).graph
        stored = {item.name for item in graph.initializer}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        assert len(convolutions) > 10
        assert all(stored.issuperset(node.input[1:]) for node in convolutions)


def with_runtime_weights(monkeypatch) -> None:
    """Let the export write a detector with a convolution by the kernel."""
    original = bundle_module.export_graph

    def export(module, inputs, path, *rest):
        original(module, inputs, path, *rest)
        if path.name == "detector.onnx":
            graph = onnx.load(path)
            graph.graph.node.append(
                helper.make_node("Conv", ["neck_out", "kernel"], ["extra"], name="correlate")
            )
            graph.graph.node.insert(
                0,
                helper.make_node(
                    "Concat", ["frame", "frame", "frame", "frame"], ["twelve"], axis=1
                ),
            )
            graph.graph.node.insert(1, helper.make_node("Slice", list(SLICE), ["neck_out"]))
            for name, value in zip(SLICE[1:], ([0], [8], [1]), strict=True):
                graph.graph.initializer.append(
                    numpy_helper.from_array(np.array(value, np.int64), name)
                )
            onnx.save(graph, path)

    monkeypatch.setattr(bundle_module, "export_graph", export)


SLICE = ("twelve", "slice_start", "slice_end", "slice_axis")


def test_export_refuses_what_tensorrt_does_not_take(monkeypatch, tmp_path) -> None:
    old = export_bundle(tiny(), tmp_path / "b", "old", "1")
    with_runtime_weights(monkeypatch)
    with pytest.raises(BundleError, match=r"detector.onnx: Conv 'correlate': its weights 'kernel'"):
        export_bundle(tiny(), tmp_path / "b", "new", "2")
    kept = load_bundle(tmp_path / "b", verify=True)
    assert (kept.name, kept.sha256) == ("old", old.sha256), "the old bundle is there, whole"
    assert [item.name for item in tmp_path.iterdir()] == ["b"]


def test_export_of_what_tensorrt_does_not_take_can_be_allowed(monkeypatch, tmp_path) -> None:
    with_runtime_weights(monkeypatch)
    made = export_bundle(tiny(), tmp_path / "b", "new", "2", allow_unsupported=True)
    assert [finding.node for finding in check_bundle(made)] == ["correlate"]
    assert load_bundle(tmp_path / "b", verify=True).name == "new"


@pytest.mark.parametrize("difference", [0.1, float("nan")])
def test_graphs_that_compute_something_else_are_refused(monkeypatch, tmp_path, difference) -> None:
    monkeypatch.setattr(bundle_module, "parity", lambda model, bundle: difference)
    with pytest.raises(BundleError, match="differs from torch"):
        export_bundle(tiny(), tmp_path / "b", "b", "1")
    assert not (tmp_path / "b").exists()


# --- the operator check ----------------------------------------------------------------------


def value(name: str, kind: int = FLOAT, shape=("N", 4, 8, 8)):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op: str, inputs: str, outputs: str = "y", **attributes):
    """``node("Conv", "x w")`` is a Conv named 'sinner'; ``_`` is an input left away."""
    names = [name if name != "_" else "" for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name="sinner", **attributes)


def check(tmp_path, *nodes, inputs=(), outputs=(), constants=None, opset=13):
    """Findings of a graph made of these nodes, with input ``x`` and output ``y`` by default."""
    stored = [
        numpy_helper.from_array(np.asarray(item), name) for name, item in (constants or {}).items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "made",
        [value("x"), *inputs],
        list(outputs) or [value("y", shape=None)],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    onnx.save(model, tmp_path / "made.onnx")
    return check_graph(tmp_path / "made.onnx")


WEIGHTS = {"w": np.ones((2, 4, 3, 3), np.float32), "b": np.zeros(2, np.float32)}
SIZES = np.array([1, 4, 16, 16], np.int64)
SCALES = np.array([1, 1, 2, 2], np.float32)


def test_a_clean_graph_has_no_findings(tmp_path) -> None:
    """Also what looks like a sin: sizes from Shape, Slice to the end, a quantised weight."""
    nodes = [
        node("Conv", "x w b", "c"),
        node("Shape", "c", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axes", "n1"),
        node("Concat", "n1 rest", "target", axis=0),
        node("Reshape", "c target", "r"),
        node("Slice", "r start end axes", "part"),
        node("Resize", "part _ _ sizes", "big", mode="linear"),
        node("Identity", "big", "y"),
    ]
    constants = {
        **WEIGHTS,
        "zero": np.int64(0),
        "axes": np.array([0], np.int64),
        "rest": np.array([2, 6, 6], np.int64),
        "start": np.array([0], np.int64),
        "end": np.array([np.iinfo(np.int64).max]),
        "sizes": np.array([1, 2, 12, 12], np.int64),
    }
    assert check(tmp_path, *nodes, constants=constants) == []


def test_quantised_constant_weights_are_taken(tmp_path) -> None:
    constants = {
        "q": np.ones((2, 4, 3, 3), np.int8),
        "scale": np.float32(0.1),
        "zero": np.int8(0),
    }
    nodes = [node("DequantizeLinear", "q scale zero", "w"), node("Conv", "x w")]
    assert check(tmp_path, *nodes, constants=constants) == []
    found = check(tmp_path, *nodes, constants={**constants, "zero": np.int8(3)})
    assert [(item.op, item.why) for item in found] == [
        ("DequantizeLinear", "quantisation with a zero point other than 0")
    ]


@pytest.mark.parametrize("matching", ["kernel", "computed"])
def test_convolution_with_weights_of_the_run_is_found(tmp_path, matching: str) -> None:
    kernel = value("kernel", shape=(2, 4, 3, 3))
    nodes = [node("Mul", "kernel kernel", "computed"), node("Conv", f"x {matching}")]
    (found,) = check(tmp_path, *nodes, inputs=[kernel])
    assert (found.graph, found.node, found.op) == ("made.onnx", "sinner", "Conv")
    assert f"weights '{matching}' are computed at run time" in found.why
    assert "MatMul" in found.what_to_do
    assert str(found).startswith("made.onnx: Conv 'sinner': its weights")


def test_weights_that_went_through_identity_are_found(tmp_path) -> None:
    nodes = [node("Identity", "b", "b2"), node("Conv", "x w b2")]
    (found,) = check(tmp_path, *nodes, constants=WEIGHTS)
    assert found.op == "Conv" and "bias 'b2' went through Identity" in found.why


def sin(nodes, words, constants=None, **graph):
    return pytest.param(nodes, words, constants, graph, id=f"{nodes[-1].op_type}: {words}")


@pytest.mark.parametrize(
    ("nodes", "words", "constants", "graph"),
    [
        sin([node("HardSwish", "x")], "names it twice", opset=14),
        sin([node("NonZero", "x")], "output size depends on values"),
        sin([node("Mod", "x x", fmod=1)], "no such operator"),
        sin([node("Bernoulli", "x")], "no such operator", opset=15),
        sin([node("Thing", "x", domain="mine")], "of the domain 'mine'"),
        sin([node("Resize", "x _ scales", mode="cubic")], "no cubic", {"scales": SCALES}),
        sin(
            [
                node(
                    "Resize",
                    "x roi scales",
                    mode="linear",
                    coordinate_transformation_mode="tf_crop_and_resize",
                )
            ],
            "no tf_crop_and_resize",
            {"scales": SCALES, "roi": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)},
        ),
        sin(
            [
                node(
                    "Resize",
                    "x _ scales",
                    coordinate_transformation_mode="tf_half_pixel_for_nn",
                    nearest_mode="floor",
                )
            ],
            "rounds by floor",
            {"scales": SCALES},
        ),
        sin(
            [node("Resize", "x _ scales", mode="linear")],
            "last three dimensions",
            {"scales": np.array([2, 1, 2, 2], np.float32)},
        ),
        sin([node("Cast", "x", to=TensorProto.DOUBLE), node("Cast", "y", "z", to=1)], "of double"),
        sin([node("Cast", "x", "i", to=INT32), node("Exp", "i")], "works on int32"),
        sin([node("Cast", "x", "i", to=INT64), node("Relu", "i")], "works on int64"),
        sin(
            [node("Cast", "x", "i", to=TensorProto.BOOL), node("Equal", "i i")],
            "works on bool",
        ),
        sin([node("MaxPool", "x", "y i", kernel_shape=[2, 2])], "Indices"),
        sin([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], "dilations [2, 2]"),
        sin([node("Squeeze", "x")], "unnamed axes"),
        sin(
            [node("Shape", "x", "s"), node("ReduceMax", "s", "k"), node("TopK", "x k", "y i")],
            "K 'k' is not an initializer",
        ),
        sin(
            [node("Cast", "x", "i", to=INT64), node("Reshape", "x i")],
            "depends on the values of 'x'",
        ),
        sin(
            [
                node("Cast", "x", "i", to=INT64),
                node("Gather", "i x0", "n"),
                node("Range", "x0 n x0"),
            ],
            "depends on the values of 'x'",
            {"x0": np.int64(1)},
        ),
        sin(
            [node("Unsqueeze", "x axes")],
            "more than 8 dimensions",
            {"axes": np.arange(5, dtype=np.int64)},
        ),
        sin([node("Gather", "x i")], "does not fit 32 bits", {"i": np.array([2**40])}),
    ],
)
def test_each_sin_is_found_and_named(tmp_path, nodes, words: str, constants, graph) -> None:
    found = check(tmp_path, *nodes, constants=constants, outputs=[value("y", 0, None)], **graph)
    found = [item for item in found if item.op not in ("input", "output")]
    assert any(words in item.why for item in found), found
    assert {item.node for item in found} == {"sinner"}
    assert all(item.what_to_do for item in found)


@pytest.mark.parametrize("kind", [TensorProto.BOOL, INT64, TensorProto.DOUBLE, TensorProto.UINT8])
def test_input_types_without_an_engine_binding_are_found(tmp_path, kind: int) -> None:
    found = check(tmp_path, node("Relu", "x"), inputs=[value("side", kind)])
    assert [(item.op, item.node) for item in found] == [("input", "side")]


def test_boolean_outputs_are_found(tmp_path) -> None:
    found = check(tmp_path, node("Greater", "x x"), outputs=[value("y", TensorProto.BOOL)])
    assert [(item.op, item.node) for item in found] == [("output", "y")]


def test_doubles_are_found_once_where_they_come_from(tmp_path) -> None:
    nodes = [
        node("Exp", "d", "e"),
        node("Cast", "e", "f", to=FLOAT),
        node("Mul", "x f"),
    ]
    found = check(tmp_path, *nodes, constants={"d": np.float64(2)})
    assert [(item.op, item.node) for item in found] == [("initializer", "d")]


@pytest.mark.parametrize(("opset", "count"), [(17, 0), (18, 1)])
def test_newer_operator_sets_are_found(tmp_path, opset: int, count: int) -> None:
    found = check(tmp_path, node("Relu", "x"), opset=opset)
    assert [(item.op, item.node) for item in found] == [("opset", "18")] * count


def test_inputs_of_open_rank_are_found(tmp_path) -> None:
    found = check(tmp_path, node("Relu", "x"), inputs=[value("side", shape=None)])
    assert [(item.op, item.node) for item in found] == [("input", "side")]


def test_control_flow_is_found_and_so_is_what_it_holds(tmp_path) -> None:
    branches = {
        name: helper.make_graph([node(op, "x", name)], name, [], [value(name, shape=None)])
        for name, op in (("then", "Relu"), ("otherwise", "NonZero"))
    }
    choice = node("If", "c", then_branch=branches["then"], else_branch=branches["otherwise"])
    found = check(tmp_path, choice, constants={"c": np.array(True)})
    assert [item.op for item in found] == ["If", "NonZero"]


def test_all_sins_are_listed_in_order(tmp_path) -> None:
    nodes = [node("NonZero", "x", "i"), node("Conv", "x x", "c"), node("Det", "x")]
    assert [item.op for item in check(tmp_path, *nodes)] == ["NonZero", "Conv", "Det"]


def test_nodes_without_a_name_are_named_by_their_output(tmp_path) -> None:
    found = check(tmp_path, helper.make_node("Det", ["x"], ["y"]))
    assert [item.node for item in found] == ["y"]


@pytest.mark.parametrize("content", [None, b"", b"no onnx at all"])
def test_a_file_that_is_no_graph_is_refused(tmp_path, content) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"broken.onnx cannot be read as an ONNX file"):
        check_graph(path)


# --- the command -----------------------------------------------------------------------------


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(arguments))


@pytest.fixture
def checkpoint(monkeypatch, tmp_path):
    """A file for which the trainer's loader answers with the tiny network."""
    monkeypatch.setattr(checkpoints, "load_checkpoint", lambda path: (tiny(), dict(TRAINING)))
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"weights")
    return path


def test_the_command_exports_and_checks(checkpoint, tmp_path, capsys) -> None:
    output = tmp_path / "made" / "bundle"
    names = ("--name", "mine", "--version", "1.2")
    run("--checkpoint", str(checkpoint), "--output", str(output), *names)
    loaded = load_bundle(output, verify=True)
    assert (loaded.name, loaded.version, loaded.template_crop.context) == ("mine", "1.2", 0.4)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert loaded.training == {**TRAINING, "checkpoint_sha256": digest}
    run("--check-only", str(output))
    assert "nothing known that TensorRT 8.4 would not take" in capsys.readouterr().out


def test_the_command_warns_of_what_it_was_allowed(
    checkpoint, monkeypatch, tmp_path, capsys
) -> None:
    with_runtime_weights(monkeypatch)
    names = ("--name", "mine", "--version", "1", "--output", str(tmp_path / "b"))
    with pytest.raises(BundleError, match="correlate"):
        run("--checkpoint", str(checkpoint), *names)
    run("--checkpoint", str(checkpoint), *names, "--allow-unsupported")
    assert "warning: detector.onnx: Conv 'correlate'" in capsys.readouterr().out
    with pytest.raises(BundleError, match="does not take 1 thing of"):
        run("--check-only", str(tmp_path / "b"))


def test_the_command_checks_the_released_bundle_and_single_files(capsys) -> None:
    run("--check-only", str(DEFAULT_BUNDLE))
    run("--check-only", str(DEFAULT_BUNDLE / "detector.onnx"))
    assert capsys.readouterr().out.count("nothing known") == 2


def test_the_command_refuses_a_damaged_bundle(bundle, tmp_path) -> None:
    for item in bundle.folder.iterdir():
        (tmp_path / item.name).write_bytes(item.read_bytes())
    with (tmp_path / "detector.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match="damaged"):
        run("--check-only", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "x"], "needs --checkpoint, --output, --version"),
        ([], "or --check-only BUNDLE"),
        (["--check-only", "b", "--name", "x"], "omit --name"),
    ],
)
def test_the_command_says_which_options_it_needs(arguments, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(*arguments)
