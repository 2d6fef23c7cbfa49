from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refdet_core.backends.engines.graph import Graph
from refdet_core.backends.engines.precision import kept_in_fp16, kept_in_fp32
from refdet_core.backends.engines.samples import OBJECTS, draw_scene, frame_images, reference_images
from refdet_core.bundle import load_bundle

onnx = pytest.importorskip("onnx")


def graph(text: str) -> Graph:
    header = '<ir_version: 8, opset_import: ["" : 17]>\n'
    return Graph(onnx.parser.parse_model(header + text).SerializeToString())


def kept(text: str, *feeds: dict) -> dict:
    made = graph(text)
    return {item.node: item.reason for item in kept_in_fp32(made, made.observe(list(feeds)))}


def numbers(*values: float) -> dict:
    return {"x": np.array([values], np.float32)}


class TestOverflow:
    SQUARE = "g (float[N,M] x) => (float[N,M] y) { z = Mul(x, x)  y = Sqrt(z) }"

    def test_a_value_near_the_largest(self):
        # A quarter of 65504 is 16376; 127 squared is 16129, 128 squared 16384.
        assert kept(self.SQUARE, numbers(1, 127)) == {}
        assert kept(self.SQUARE, numbers(1, -128)) == {"z": "values up to 16384"}

    def test_the_worst_of_all_feeds(self):
        assert set(kept(self.SQUARE, numbers(300), numbers(1))) == {"z"}

    def test_what_is_no_number(self):
        text = "g (float[N,M] x) => (float[N,M] y) { z = Log(x)  y = Abs(z) }"
        assert set(kept(text, numbers(1, -1))) == {"z", "y"}
        assert set(kept(text, numbers(0, 1))) == {"z", "y"}

    def test_a_mean_by_the_sum_behind_it(self):
        text = """g (float[N,M] x) => (float[N,1] y)
            { y = ReduceMean <axes = [1], keepdims = 1>(x) }"""
        ones = np.ones((1, 16000), np.float32)
        assert kept(text, {"x": ones}) == {}
        assert kept(text, {"x": 2 * ones}) == {"y": "values up to 32000"}


class TestEpsilon:
    def test_the_sum_and_the_roots_and_quotients_that_follow(self):
        text = """g (float[N,M] x) => (float[N,M] y)
            <float tiny = {0.000001}, float one = {1}>
            { z = Mul(x, x)  sum = Add(z, tiny)  root = Sqrt(sum)  scale = Div(one, root)
              y = Mul(x, scale) }"""
        reason = "a number too small for FP16"
        assert kept(text, numbers(1, 2)) == {"sum": reason, "root": reason, "scale": reason}

    def test_one_in_a_constant_node(self):
        text = """g (float[N,M] x) => (float[N,M] y)
            { tiny = Constant <value = float {0.00001}>()  y = Add(x, tiny) }"""
        assert set(kept(text, numbers(1))) == {"y"}

    def test_not_what_fp16_can_hold(self):
        text = """g (float[N,M] x) => (float[N,M] y) <float small = {0.001}>
            { z = Add(x, small)  y = Sqrt(z) }"""
        assert kept(text, numbers(1)) == {}


class TestOutputs:
    def test_everything_after_the_last_weights(self):
        text = """g (float[N,M] x, float[M,M] w) => (float[N,M] box, float[N,M] kernel)
            <float two = {2}>
            { a = Mul(x, two)  b = MatMul(a, w)  c = Exp(b)  box = Mul(c, two)
              kernel = Mul(b, two) }"""
        feed = {"x": np.ones((1, 2), np.float32), "w": np.ones((2, 2), np.float32)}
        assert kept(text, feed) == dict.fromkeys(("c", "box"), "makes the outputs")

    def test_sizes_and_indices_do_not_count(self):
        text = """g (float[N,M] x, float[M,M] w) => (float[N,M] score)
            { b = MatMul(x, w)  size = Shape(x)  score = Reshape(b, size) }"""
        feed = {"x": np.ones((1, 2), np.float32), "w": np.ones((2, 2), np.float32)}
        assert set(kept(text, feed)) == {"score"}


class TestInt8:
    TEXT = """g (float[N,2,H,W] x) => (float[N,2,h,w] y)
        <float[2,2,1,1] w = {1, 0, 0, 1}, float[2,1,1,1] d = {1, 1}>
        { first = Conv <strides = [4, 4]>(x, w)
          plain = Conv <strides = [2, 2]>(first, w)
          depth = Conv <group = 2>(plain, d)
          pooled = ReduceMean <axes = [2, 3]>(depth)
          squeeze = Conv(pooled, w)
          active = Relu(squeeze)
          expand = Conv(active, w)
          gate = HardSigmoid(expand)
          gated = Mul(depth, gate)
          again = Conv(gated, w)  # 8x8 of 64x64
          y = MatMul(again, again) }"""

    def test_plain_convolutions_alone_are_quantised(self):
        made = graph(self.TEXT)
        spans = made.observe([{"x": np.ones((1, 2, 64, 64), np.float32)}])
        found = {item.node: item.reason for item in kept_in_fp16(made, spans, "x")}
        assert found == {
            "first": "on a fine map",
            "depth": "depthwise",
            "squeeze": "on a pooled map",
            "expand": "on a pooled map",
            "y": "not a convolution",
        }


@pytest.fixture(scope="module")
def found():
    """The small detector, its values, and what is kept of it in FP32."""
    bundle = load_bundle(Path("small"))
    made = Graph(bundle.detector_graph.read_bytes())
    frame = frame_images(1, 1280, 736)
    kernel = np.ones((1, *bundle.kernel_shape), np.float32)
    feeds = [{"frame": frame, "kernel": kernel}]
    spans = made.observe(feeds)
    return made, spans, kept_in_fp32(made, spans)


class TestReleasedModel:
    def test_sums_over_a_large_frame_overflow(self, found):
        """What FP16 engines get wrong silently: the mean over 184x160 cells of a gate, and the
        length of a feature vector."""
        overflowing = [item for item in found[2] if item.reason.startswith("values up to")]
        assert overflowing
        assert {item.op for item in overflowing} == {"ReduceMean", "ReduceSum", "Add"}

    def test_normalisation_and_outputs_are_kept(self, found):
        ops = [item.op for item in found[2]]
        assert ops.count("Sigmoid") == 2
        assert ops.count("Exp") == 1
        assert ops.count("Sqrt") == 4  # frame and kernel, at each of two strides
        assert "Conv" not in ops

    def test_most_convolutions_can_be_int8(self, found):
        made, spans, _ = found
        kept_convs = [item for item in kept_in_fp16(made, spans) if item.op == "Conv"]
        total = sum(node.op == "Conv" for node in made.nodes)
        assert total == 51
        assert sum(item.reason == "depthwise" for item in kept_convs) == 12
        assert len(kept_convs) == 27  # and 8 gates, the first one, and 6 of the first blocks


class TestSamples:
    def test_the_same_every_time_and_others_for_other_seeds(self):
        first = draw_scene(96, 64, 3)
        draw_scene(96, 64, 4)
        again = draw_scene(96, 64, 3)
        np.testing.assert_array_equal(first.frame_bgr, again.frame_bgr)
        assert first.boxes_xyxy == again.boxes_xyxy
        assert (draw_scene(96, 64, 4).frame_bgr != first.frame_bgr).any()

    def test_the_body_on_top_is_whole(self):
        for seed in range(5):
            scene = draw_scene(192, 192, seed)
            x1, y1, x2, y2 = scene.boxes_xyxy[0]
            assert x1 >= 0
            assert y1 >= 0
            assert x2 <= 192
            assert y2 <= 192
            assert len(scene.boxes_xyxy) == OBJECTS

    @pytest.mark.parametrize("size", [(16, 16), (8, 64), (1280, 736)])
    def test_any_size(self, size):
        frame = frame_images(1, *size)
        assert frame.shape == (1, 3, size[1], size[0])
        assert frame.dtype == np.float32
        assert frame.min() >= 0
        assert frame.max() <= 255

    def test_the_released_model_finds_a_body_in_another_scene(self):
        """So the comparison sees more than scores near 0."""
        import onnxruntime

        bundle = load_bundle()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        encoder = onnxruntime.InferenceSession(str(bundle.template_graph), options)
        detector = onnxruntime.InferenceSession(str(bundle.detector_graph), options)
        (kernel,) = encoder.run(["kernel"], {"image": reference_images(bundle, 2)})
        (score,) = detector.run(["score"], {"frame": frame_images(1, 544, 320), "kernel": kernel})
        assert score.max() > 0.5
        assert np.median(score) < 0.05
