from __future__ import annotations

import functools
import logging
import re
from dataclasses import replace

import fake_engines
import pytest

from refdet_core.backends.config import BackendConfig
from refdet_core.backends.engines.profiles import detector_profiles, template_profiles
from refdet_core.bundle import load_bundle
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BackendError, OutOfMemoryError
from refdet_core.search.tile_pyramid import TilePyramid

VERSIONS = ("8.4.1.5", "8.5.3.1", "10.3.0")
RTX = "1.7.1.116"
STRONGLY_TYPED = ("11.0.0", RTX)


@pytest.fixture
def bundle(colour_bundle):
    return load_bundle(colour_bundle)


@pytest.fixture
def install(monkeypatch, tmp_path):
    return functools.partial(fake_engines.install, monkeypatch, tmp_path)


@pytest.fixture
def build(bundle, tmp_path):
    def call(precision="fp16", **settings):
        from refdet_core.backends.engines.cache import ready_engines

        chosen = {"engine_folder": str(tmp_path / "engines"), **fake_engines.SMALL, **settings}
        return ready_engines(bundle, BackendConfig(**chosen), precision)

    return call


class TestAsked:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_fp16(self, install, build, version):
        trt = install(version)
        build(engine_workspace_mb=100)
        encoder, detector = trt.builds
        assert detector.flags == {"FP16", "TF32", "OBEY_PRECISION_CONSTRAINTS"}
        assert detector.workspace == 100 * 1024 * 1024
        assert detector.device == "GPU"
        assert encoder.profiles == [
            {"image": ((1, 3, 32, 32), (1, 3, 32, 32), (3, 3, 32, 32))},
        ]
        kernel = ((1, 3, 1, 1), (1, 3, 1, 1), (3, 3, 1, 1))
        assert detector.profiles == [
            {"frame": ((1, 3, 8, 8), (1, 3, 96, 96), (5, 3, 96, 96)), "kernel": kernel},
            {"frame": ((1, 3, 8, 8), (1, 3, 64, 96), (4, 3, 64, 96)), "kernel": kernel},
        ]

    @pytest.mark.parametrize("version", [*VERSIONS, "11.0.0"])
    def test_fp32_is_not_tf32(self, install, build, version):
        trt = install(version)
        build("fp32")
        assert [build.flags for build in trt.builds] == [set(), set()]
        assert [build.precisions for build in trt.builds] == [{}, {}]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_layers_of_the_outputs_are_constrained_with_their_helpers(
        self, install, build, version
    ):
        trt = install(version)
        engines = build()
        constrained = trt.builds[1].precisions
        assert set(constrained.values()) == {"FLOAT"}
        # The toy's nodes have no names in its file; it has no weights, so all of it makes the
        # outputs: 12 products with a helper layer each, and everything that is floating point.
        helpers = [name for name in constrained if name.endswith("[Shuffle]")]
        assert len(helpers) == trt.builds[1].operators.count("Mul")
        assert not [name for name in constrained if "Constant" in name]
        assert engines.sidecars[1]["kept_layers"] == dict.fromkeys(constrained, "fp32")

    @pytest.mark.parametrize("version", STRONGLY_TYPED)
    def test_fp16_is_in_the_graph_where_tensorrt_takes_its_types(self, install, build, version):
        trt = install(version)
        engines = build()
        encoder, detector = trt.builds
        assert "Cast" in encoder.operators and not encoder.precisions
        assert {item["precision"] for item in engines.sidecars[1]["kept_operators"]} == {"fp32"}
        assert detector.flags == {"TF32", "REQUIRE_USER_ALLOCATION"} - (
            set() if version == RTX else {"REQUIRE_USER_ALLOCATION"}
        )

    def test_rtx_times_nothing(self, install, build, tmp_path):
        install(RTX)
        build("fp32")
        assert list(tmp_path.glob("engines/*.engine"))
        assert not list(tmp_path.glob("engines/timings*"))

    def test_a_dla_gets_one_shape_and_the_gpu_the_rest(self, install, build, caplog):
        caplog.set_level(logging.INFO)
        trt = install()
        trt.dla_cores = 2
        build(engine_dla=1)
        encoder, detector = trt.builds
        assert detector.device == "DLA"
        assert "GPU_FALLBACK" in detector.flags
        assert detector.fixed_inputs == {"frame": (1, 3, 64, 96)}
        assert encoder.fixed_inputs == {"image": (1, 3, 32, 32)}
        assert any("DLA 1 can take 0 of" in text for text in caplog.messages)

    def test_a_dla_that_is_not_there(self, install, build):
        install()
        with pytest.raises(BackendError, match=r"has 0 deep learning accelerators .* is 0"):
            build(engine_dla=0)


class TestProfiles:
    def test_of_the_defaults(self):
        bundle, config = load_bundle(), BackendConfig()
        (templates,) = template_profiles(bundle, config)
        assert templates.inputs["image"].most == (20, 3, 128, 128)
        window, frame = detector_profiles(bundle, config)
        assert window.inputs["frame"].least == (1, 3, 16, 16)
        assert window.inputs["frame"].usual == (1, 3, 192, 192)
        assert window.inputs["frame"].most == (5, 3, 512, 512)
        assert frame.inputs["frame"].usual == (1, 3, 576, 976)
        assert frame.inputs["frame"].most == (4, 3, 736, 1280)
        assert frame.inputs["kernel"].most == (20, *bundle.kernel_shape)

    def test_the_usual_frame_is_what_the_search_tiles_asks_for(self):
        bundle, search = load_bundle(), DetectorConfig()
        pyramid = TilePyramid(
            (search.tile_width, search.tile_height),
            search.tile_overlap,
            bundle.frame_multiple,
            search.tile_scale,
            bundle.best_object_px,
            bundle.least_side,
        )
        finest = max(pyramid((1280, 720), None), key=lambda tiles: tiles.scale)
        tile, *_ = finest.crops((1280, 720))
        _, frame = detector_profiles(bundle, BackendConfig())
        assert frame.inputs["frame"].usual == (1, 3, tile.out_height, tile.out_width)

    def test_sides_are_rounded_up_to_what_the_network_takes(self):
        config = BackendConfig(engine_max_width=1281, engine_max_height=100, engine_max_tiles=1)
        window, frame = detector_profiles(load_bundle(), config)
        assert frame.inputs["frame"].most == (1, 3, 112, 1296)
        assert frame.inputs["frame"].usual == (1, 3, 112, 976)
        assert window.inputs["frame"].most == (5, 3, 512, 512)

    def test_no_frame_is_smaller_than_the_network_takes(self):
        bundle = replace(load_bundle(), least_side=112)
        for profile in detector_profiles(bundle, BackendConfig(engine_max_height=64)):
            assert profile.inputs["frame"].least == (1, 3, 112, 112)
            assert profile.inputs["frame"].most[2] >= 112

    def test_nothing_is_larger_than_asked_for(self):
        config = BackendConfig(engine_max_width=128, engine_max_height=96)
        window, frame = detector_profiles(load_bundle(), config)
        assert window.inputs["frame"].usual == (1, 3, 128, 128)
        assert window.inputs["frame"].most == (5, 3, 128, 128)
        assert frame.inputs["frame"].usual == (1, 3, 96, 128)


class TestTold:
    def test_an_operator_that_tensorrt_does_not_know(self, install, build, tmp_path):
        trt = install()
        trt.unsupported = {"CumSum"}
        with pytest.raises(BackendError) as error:
            build()
        text = str(error.value)
        assert "TensorRT 8.5.3.1 does not take the detector: operator CumSum, node 'column'" in text
        assert "UNSUPPORTED_NODE" in text
        assert not list((tmp_path / "engines").glob("colours-detector*"))

    def test_tensorrts_own_words_for_a_build_that_failed(self, install, build):
        trt = install()
        trt.fails_with = "10: Could not find any implementation for node Conv_0"
        with pytest.raises(BackendError, match=r"could not build .*any implementation for node Co"):
            build()

    def test_too_little_memory(self, install, build):
        trt = install()
        trt.fails_with = "2: [virtualMemoryBuffer.cpp::resizePhysical] OutOfMemory (no details)"
        with pytest.raises(OutOfMemoryError, match=r"lower engine_workspace_mb"):
            build()

    def test_a_line_of_progress_in_time(self, install, build, caplog, monkeypatch):
        import refdet_core.backends.engines.maker as maker

        monkeypatch.setattr(maker, "Progress", functools.partial(maker.Progress, period_s=0.1))
        caplog.set_level(logging.INFO)
        trt = install()
        trt.build_s = 0.35
        trt.messages = [
            ("VERBOSE", "--------------- Timing Runner: conv1 + relu1 (CudaDepthwise)"),
            ("VERBOSE", "Tactic: 0x1 Time: 0.1"),
            ("VERBOSE", "--------------- Timing Runner: /a(b)/Conv (CaskConvolution[0x80000009])"),
        ]
        build()
        lines = [text for text in caplog.messages if "detector: " in text]
        during = [text for text in lines if text.endswith("2 kernels tried, now for /a(b)/Conv")]
        assert len(during) >= 2
        assert re.match(r"Building the fp16 engine of the detector: \d s, ", during[0])

    def test_nobody_talks_after_the_end(self, caplog):
        from refdet_core.backends.engines.progress import Progress

        caplog.set_level(logging.INFO)
        with pytest.raises(ValueError, match=r"of the task"), Progress(
            "Doing", period_s=0.02
        ) as it:
            it.phase("that")
            while not caplog.messages:
                pass
            raise ValueError("of the task")
        count = len(caplog.messages)
        assert caplog.messages[0] == "Doing: 0 s, that"
        assert not it._thread.is_alive()
        assert len(caplog.messages) == count
