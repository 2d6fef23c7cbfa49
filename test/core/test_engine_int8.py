from __future__ import annotations

import json
import logging
import os

import cv2
import fake_engines
import numpy as np
import pytest

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.errors import BackendError, RefdetError, SourceError

onnx = pytest.importorskip("onnx")

ENCODER = """
    <ir_version: 8, opset_import: ["" : 17]>
    encoder (float[N,3,32,32] image) => (float[N,3,1,1] kernel)
    <float scale = {0.00392156862745098}>
    { mean = GlobalAveragePool(image)  kernel = Mul(mean, scale) }
"""
DETECTOR = """
    <ir_version: 8, opset_import: ["" : 17]>
    detector (float[B,3,H,W] frame, float[V,3,1,1] kernel)
      => (float[B,V,h,w] score, float[B,V,4,h,w] box, float[B,V] presence)
    <float[3,3,1,1] mix = {0.004, 0, 0, 0, 0.004, 0, 0, 0, 0.004},
     float[3,3,1,1] same = {0.9, 0.1, 0, 0, 0.9, 0.1, 0.1, 0, 0.9}, float[3,1,1,1] deep = {1, 1, 1},
     int64[1] first = {0}, int64[1] second = {1}, int64[1] third = {2}, float px = {8}>
    { stem = Conv <strides = [4, 4]>(frame, mix)
      depth = Conv <group = 3>(stem, deep)
      plain = Conv <strides = [2, 2]>(depth, same)
      seen = Unsqueeze(plain, second)
      wanted = Unsqueeze(kernel, first)
      product = Mul(seen, wanted)
      logit = ReduceSum <keepdims = 0>(product, third)
      score = Sigmoid(logit)
      presence = ReduceMax <axes = [2, 3], keepdims = 0>(score)
      left = Mul(score, px)
      right = Mul(left, px)
      x1 = Unsqueeze(left, third)
      x2 = Unsqueeze(right, third)
      box = Concat <axis = 2>(x1, x1, x2, x2) }
"""


@pytest.fixture(scope="module")
def bundle(colour_bundle, tmp_path_factory):
    """The toy model's description with a detector that has convolutions."""
    folder = tmp_path_factory.mktemp("convolutions")
    (folder / "bundle.yaml").write_text((colour_bundle / "bundle.yaml").read_text())
    for name, text in (("template_encoder", ENCODER), ("detector", DETECTOR)):
        onnx.save(onnx.parser.parse_model(text), str(folder / (name + ".onnx")))
    return load_bundle(folder)


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        frame = np.full((128, 192, 3), 60 * (index + 1), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), frame)
    return folder


@pytest.fixture
def build(bundle, frames, tmp_path, monkeypatch):
    """A function that installs a TensorRT, asks for int8 engines and returns it and them."""

    def call(version="8.5.3.1", change=lambda trt: None, rebuild_because="", **settings):
        trt = fake_engines.install(monkeypatch, tmp_path, version)
        change(trt)
        from refdet_core.backends.engines.cache import ready_engines

        chosen = {
            "engine_folder": str(tmp_path / "engines"),
            "engine_calibration": str(frames),
            **fake_engines.SMALL,
            **settings,
        }
        return trt, ready_engines(bundle, BackendConfig(**chosen), "int8", rebuild_because)

    return call


class TestCalibrator:
    """TensorRT 8: it asks for the frames."""

    @pytest.mark.parametrize("version", ["8.4.1.5", "8.5.3.1"])
    def test_gets_every_frame_and_a_kernel(self, build, version):
        trt, engines = build(version)
        encoder, detector = trt.builds
        assert "INT8" not in encoder.flags  # a template is encoded once, for all frames
        assert detector.flags == {"FP16", "INT8", "TF32", "OBEY_PRECISION_CONSTRAINTS"}
        assert [feed["frame"][0, 0, 32, 48] for feed in detector.calibration] == [60, 120, 180]
        for feed in detector.calibration:
            assert feed["frame"].shape == (1, 3, 64, 96)
            # The encoder's mean colour of a piece of the same frame.
            np.testing.assert_allclose(feed["kernel"], feed["frame"].mean() / 255, rtol=1e-4)
        assert engines.sidecars[0]["identity"]["precision"] == "fp16"
        assert engines.sidecars[1]["identity"]["precision"] == "int8"

    def test_depthwise_and_the_first_convolution_stay_in_fp16(self, build):
        _, engines = build()
        kept = {item["node"]: item["precision"] for item in engines.sidecars[1]["kept_operators"]}
        assert kept["stem"] == kept["depth"] == "fp16"
        assert kept["score"] == kept["box"] == "fp32"
        assert "plain" not in kept

    def test_photos_of_objects_are_taken_where_there_are_any(self, build, frames):
        (frames / "references").mkdir()
        cv2.imwrite(str(frames / "references" / "photo.png"), np.full((40, 40, 3), 255, np.uint8))
        trt, _ = build()
        for feed in trt.builds[1].calibration:
            # A white photo with grey (114) around it, for the context; here there is none.
            np.testing.assert_allclose(feed["kernel"], 1, rtol=1e-5)

    def test_what_it_found_is_used_again(self, build, tmp_path, caplog):
        caplog.set_level(logging.INFO)
        build()
        for path in (tmp_path / "engines").glob("*.engine"):
            path.unlink()
        trt, _ = build()
        assert trt.builds[1].calibration == []
        assert trt.builds[1].calibration_cache == b"ranges of 3"
        assert any("int8 ranges in" in text and "are reused" in text for text in caplog.messages)

    def test_what_it_found_serves_another_engine_of_the_same_graph_and_frames(self, build):
        build()
        trt, _ = build(engine_workspace_mb=64, engine_max_views=5)
        assert trt.builds[1].calibration_cache == b"ranges of 3"
        trt, _ = build(engine_max_width=64)  # of another size
        assert len(trt.builds[0].calibration) == 3

    def test_what_it_found_is_not_believed_when_building_anew(self, build, tmp_path):
        build()
        (ranges,) = (tmp_path / "engines").glob("*.calibration")
        ranges.write_bytes(b"nonsense")
        trt, _ = build(rebuild_because="--force was given")
        assert trt.builds[1].calibration_cache is None
        assert len(trt.builds[1].calibration) == 3
        assert ranges.read_bytes() == b"ranges of 3"

    def test_what_it_found_and_cannot_be_read_is_found_again(self, build, tmp_path, monkeypatch):
        build()
        for path in (tmp_path / "engines").glob("*.engine"):
            path.unlink()
        fake_engines.unreadable(monkeypatch, ".calibration")
        trt, _ = build()
        assert len(trt.builds[1].calibration) == 3

    def test_other_frames_are_another_calibration(self, build, frames):
        build()
        cv2.imwrite(str(frames / "3.png"), np.full((128, 192, 3), 10, np.uint8))
        trt, _ = build()
        (detector,) = trt.builds  # the encoder has nothing to do with them
        assert len(detector.calibration) == 4

    def test_an_image_that_cannot_be_read_is_named(self, build, frames, tmp_path):
        (frames / "1.png").write_bytes(b"no image")
        with pytest.raises(RefdetError, match=r"1\.png"):
            build()
        assert not list((tmp_path / "engines").glob("*.calibration"))

    def test_an_image_that_went_away_during_the_build_is_named(self, build, frames, tmp_path):
        def change(trt):
            trt.during_build = lambda: (frames / "1.png").unlink() if len(trt.builds) == 2 else 0

        with pytest.raises(BackendError, match=r"calibration failed: .*1\.png"):
            build(change=change)
        assert not list((tmp_path / "engines").glob("*int8*"))


class TestExplicit:
    """TensorRT 10: Q/DQ nodes in the graph."""

    def test_plain_convolutions_have_q_and_dq(self, build):
        trt, engines = build("10.3.0")
        detector = trt.builds[1]
        assert {"INT8", "FP16"} <= detector.flags
        assert detector.calibration == []
        # Of the one plain convolution: its input is quantised, its weights are stored so.
        assert detector.operators.count("Conv") == 3
        assert detector.operators.count("QuantizeLinear") == 2  # its input and its output
        assert detector.operators.count("DequantizeLinear") == 3  # and its weights
        differences = engines.sidecars[1]["differences"]
        assert 0 < differences["score"]["largest"] < 0.1  # of three grey frames
        json.dumps(engines.sidecars)


class TestWithoutFrames:
    """An engine that is there needs them no more."""

    def test_the_newest_is_taken(self, build, frames, tmp_path):
        _, first = build()
        cv2.imwrite(str(frames / "3.png"), np.full((128, 192, 3), 10, np.uint8))
        _, second = build()
        digests = [item.sidecars[1]["identity"]["calibration_sha256"] for item in (first, second)]
        paths = {
            json.loads(path.read_text())["identity"]["calibration_sha256"]: path
            for path in (tmp_path / "engines").glob("*-int8-*.json")
        }
        for newest in (0, 1):
            for index, digest in enumerate(digests):
                os.utime(paths[digest], (index == newest, index == newest))
            trt, engines = build(engine_calibration="")
            assert engines == (first, second)[newest]
            assert not trt.builds
        # of those that can be used
        paths[digests[1]].with_suffix("").write_bytes(b"")
        assert build(engine_calibration="")[1] == first

    def test_the_template_encoder_can_be_built(self, build, tmp_path):
        build()
        for path in (tmp_path / "engines").glob("*encoder*.engine"):
            path.unlink()
        trt, _ = build(engine_calibration="")
        assert len(trt.builds) == 1

    @pytest.mark.parametrize(
        "change", [{"engine_max_tiles": 2}, {"rebuild_because": "--force was given"}]
    )
    def test_another_one_is_not_taken(self, build, change):
        build()
        with pytest.raises(BackendError, match=r"give a folder of images from the camera"):
            build(engine_calibration="", **change)


class TestFrames:
    def test_of_the_users_home(self, build, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        trt, _ = build(engine_calibration="~/frames")
        assert len(trt.builds[1].calibration) == 3

    def test_one_that_cannot_be_read_is_named(self, build, monkeypatch):
        fake_engines.unreadable(monkeypatch, ".png")
        with pytest.raises(SourceError, match=r"frames' cannot be read: .*0\.png"):
            build()

    def test_none_given(self, build):
        with pytest.raises(BackendError, match=r"give a folder of images from the camera"):
            build(engine_calibration="")

    @pytest.mark.parametrize("place", ["nowhere", "."])
    def test_no_images(self, build, tmp_path, place):
        with pytest.raises(BackendError, match=r"holds no frames to calibrate"):
            build(engine_calibration=str(tmp_path / place))

    def test_of_many_some_are_taken_evenly(self, tmp_path):
        from refdet_core.backends.engines.calibration import read_calibration

        for index in range(500):
            (tmp_path / f"{index:03}.jpg").write_bytes(b"")
        names = [path.stem for path in read_calibration(str(tmp_path)).frames]
        assert len(names) == 200
        assert names[:4] == ["000", "002", "005", "007"]
        assert names[-1] == "497"
