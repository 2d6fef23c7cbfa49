"""Published networks as bundles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import timm
import torch
from onnx import numpy_helper

from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.bundle import load_bundle
from refdet_core.crop_rule import CropRule
from refdet_training.cli import main
from refdet_training.export.operators import check_bundle
from refdet_training.published import surgery

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason=f"the published weights are not in {WEIGHTS}"
)

DEPTHWISE = """
<ir_version: 8, opset_import: ["" : 13]>
published (float[1, 3, 8, 8] search, float[1, 3, 4, 4] template) => (float[1, 3, 7, 7] result)
<int64[4] map = {1, 3, 8, 8}, int64[4] weights = {3, 1, 4, 4}, int64[4] out = {1, 3, 7, 7}>
{
  searched = Reshape(search, map)
  kernel = Reshape(template, weights)
  compared = Conv <group = 3, kernel_shape = [4, 4], pads = [1, 1, 1, 1]> (searched, kernel)
  result = Reshape(compared, out)
}
"""
SQUEEZED = """
<ir_version: 8, opset_import: ["" : 14]>
published (float[1, 4, 8, 8] image) => (float[1, 4, 8, 8] result)
<int64[2] flat = {1, 4}, int64[4] tall = {1, 4, 1, 1}>
{
  soft = HardSwish(image)
  mean = GlobalAveragePool(soft)
  row = Reshape(mean, flat)
  gate = Relu(row)
  column = Reshape(gate, tall)
  result = Mul(soft, column)
}
"""


def written(text, folder):
    path = folder / "published.onnx"
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


def run(graph, opset, **inputs):
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)[0]


def noise(*shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


def test_depthwise_correlation_without_computed_weights_is_the_same(tmp_path):
    path = written(DEPTHWISE, tmp_path)
    search, template = noise(2, 3, 8, 8), noise(2, 3, 4, 4)
    expected = [
        run(onnx.load(str(path)).graph, 13, search=s[None], template=t[None])[0]
        for s, t in zip(search, template, strict=True)
    ]
    graph = surgery.load_graph(path)
    surgery.depthwise_without_runtime_weights(graph)
    assert "Conv" not in {node.op_type for node in graph.node}
    found = run(graph, 13, search=search, template=template)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_graph_for_one_image_takes_many_and_loses_hard_swish(tmp_path):
    path = written(SQUEEZED, tmp_path)
    images = noise(3, 4, 8, 8)
    expected = [run(onnx.load(str(path)).graph, 14, image=image[None])[0] for image in images]
    graph = surgery.load_graph(path)
    assert "HardSwish" not in {node.op_type for node in graph.node}
    np.testing.assert_allclose(run(graph, 13, image=images), expected, rtol=1e-5, atol=1e-6)


def test_half_precision_weights_become_float32(tmp_path):
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 13]>
        published (float[1, 2] image) => (float[1, 2] result)
        {
          scale = Cast <to = 1> (half)
          result = Mul(image, scale)
        }
        """
    )
    half = numpy_helper.from_array(np.array([0.5, 2.0], np.float16), "half")
    model.graph.initializer.append(half)
    path = tmp_path / "half.onnx"
    onnx.save(model, str(path))
    graph = surgery.load_graph(path)
    assert [node.op_type for node in graph.node] == ["Mul"]
    np.testing.assert_array_equal(run(graph, 13, image=np.ones((1, 2), np.float32)), [[0.5, 2.0]])


@needs_weights
@pytest.mark.parametrize(
    ("name", "template_crop"),
    [
        ("nanotrackv3", CropRule(127, border="mean")),
        ("fear", CropRule(128, context=0.0, factor=1.4, stretched=True, border="mean")),
    ],
)
def test_a_published_tracker_becomes_a_bundle(name, template_crop, tmp_path):
    output = tmp_path / name
    assert main(["import", name, "--weights", str(WEIGHTS), "--output", str(output)]) == 0
    bundle = load_bundle(output, verify=True)
    assert bundle.template_crop == template_crop
    assert bundle.purposes == ("track",)
    assert check_bundle(bundle) == []
    assert {"LICENSE", "MODEL_CARD.md"} <= {path.name for path in output.iterdir()}


def test_a_folder_without_the_weights_is_refused_and_nothing_is_written(tmp_path, capsys):
    output = tmp_path / "bundle"
    given = ["import", "lighttrack", "--weights", str(tmp_path), "--output", str(output)]
    assert main(given) == 2
    assert "LightTrack-MIT.txt" in capsys.readouterr().err
    (tmp_path / "LightTrack-MIT.txt").write_text("MIT License")
    assert main(given) == 2
    assert "lighttrack_backbone.onnx" in capsys.readouterr().err
    assert not output.exists()


def test_an_image_network_becomes_a_bundle_that_compares(tmp_path, capsys):
    weights, output = tmp_path / "weights", tmp_path / "bundle"
    weights.mkdir()
    given = ["import", "efficientnet_lite0", "--weights", str(weights), "--output", str(output)]
    assert main(given) == 2
    assert "efficientnet-lite0-57934424.pth" in capsys.readouterr().err
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    published = {"module." + key: value for key, value in network.state_dict().items()}
    torch.save(published, weights / "efficientnet-lite0-57934424.pth")
    assert main(given) == 2
    assert "licence" in capsys.readouterr().err and not output.exists()
    (weights / "LICENSE").write_text("Apache Software License 2.0")
    assert main(given) == 0

    bundle = load_bundle(output, verify=True)
    assert bundle.purposes == ("compare",) and check_bundle(bundle) == []
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, 128, 128)).astype(np.float32)
    with torch.no_grad():
        expected = network.bn1(network.conv_stem(torch.from_numpy(images) / 127.5 - 1))
        for block in (*network.blocks[:5], *network.blocks[5][:3]):
            expected = block(expected)
    with OnnxRuntimeBackend.open(bundle) as backend:
        kernels = backend.encode_templates(images)
        assert backend.as_array(kernels) == pytest.approx(expected.numpy(), abs=1e-4)
        maps = backend.infer(np.full((1, 3, 64, 128), 200, np.float32), kernels)
    assert maps.score.shape == (1, 3, 2, 4) and not maps.score.any()


@pytest.mark.parametrize("content", [None, {}, {"a": torch.zeros(32, 3, 3, 3)}, [1]])
def test_other_weights_than_an_image_networks_are_refused(content, tmp_path, capsys):
    file = tmp_path / "efficientnet-lite0-57934424.pth"
    if content is None:
        file.write_bytes(b"no weights")
    else:
        torch.save(content, file)
    (tmp_path / "LICENSE").write_text("Apache Software License 2.0")
    output = tmp_path / "bundle"
    given = ["import", "efficientnet_lite0", "--weights", str(tmp_path), "--output", str(output)]
    assert main(given) == 2
    assert "does not hold EfficientNet-Lite0" in capsys.readouterr().err
    assert not output.exists()
