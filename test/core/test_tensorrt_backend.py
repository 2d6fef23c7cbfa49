from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import threading
from dataclasses import replace
from types import SimpleNamespace

import fake_cuda
import fake_tensorrt
import fake_tensorrt_runtime
import numpy as np
import pytest

from refdet_core.backends import open_backend
from refdet_core.backends.config import BackendConfig
from refdet_core.backends.engines.profiles import detector_profiles, template_profiles
from refdet_core.bundle import DEFAULT_BUNDLE, load_bundle
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BackendError, DeviceLostError, OutOfMemoryError
from refdet_core.imaging import Crop, extract, to_blob
from refdet_core.types import Reference

NATIVE = DetectorConfig(tile_scale=1.0)
SMALL = BackendConfig(engine_max_width=320, engine_max_height=240, engine_max_views=6)
ROOMY = BackendConfig(engine_max_width=512, engine_max_height=512)
WHOLE = Crop(0, 0, 320, 240, 320, 240)
RED = (68.0, 84.0, 100.0, 116.0)


class Machine:
    """A fake GPU with a fake TensorRT, and backends on it."""

    def __init__(self, folder, generation, **settings):
        self.cuda = fake_cuda.FakeCuda(folder, **settings)
        self.trt = fake_tensorrt_runtime.FakeTensorRT(self.cuda, generation)
        self.rebuilt = []

    def engines(self, bundle, config, precision, rebuild_because=""):
        """Stands for building them; see test_engine_cache.py for that."""
        if rebuild_because:
            self.rebuilt.append(rebuild_because)
            self.trt.refuse = set()

        def made(graph, profiles):
            shapes = [
                {name: (item.least, item.usual, item.most) for name, item in each.inputs.items()}
                for each in profiles
            ]
            return fake_tensorrt_runtime.serialize(graph.read_bytes(), shapes)

        return SimpleNamespace(
            template_encoder=made(bundle.template_graph, template_profiles(bundle, config)),
            detector=made(bundle.detector_graph, detector_profiles(bundle, config)),
        )

    def open(self, bundle, config=SMALL):
        return open_backend("tensorrt", bundle, config)

    def leftovers(self):
        """What is left on the device, and what was done wrong on the way."""
        gc.collect()
        counts = {
            "device memory": len(self.cuda.live("device")),
            "pinned memory": len(self.cuda.live("pinned")),
            "graphs": self.cuda.live_graphs,
            "streams": self.cuda.live_streams,
            "pushed contexts": self.cuda.context_depth,
            "TensorRT objects": len(self.trt.alive),
        }
        left = [f"{count} {name}" for name, count in counts.items() if count]
        return left + self.cuda.violations


@pytest.fixture(scope="module")
def kernels_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def make_machine(kernels_folder, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        active = []

        def make(generation="8.5", builder=None, package="pycuda", **settings):
            machine = Machine(kernels_folder, generation, **settings)
            double = fake_cuda.installed(machine.cuda, machine.trt.module(builder), package)
            double.__enter__()
            active.append(double)
            module = importlib.import_module("refdet_core.backends.tensorrt")
            if builder is None:
                patch.setattr(module, "ready_engines", machine.engines)
            return machine

        yield make
        for double in reversed(active):
            double.__exit__(None, None, None)


@pytest.fixture
def machine(make_machine):
    return make_machine()


@pytest.fixture
def bundle(colour_bundle):
    return load_bundle(colour_bundle)


@pytest.fixture
def reference_backend(bundle):
    with open_backend("onnxruntime", bundle) as backend:
        yield backend


def images(*colours):
    """Template crops of one colour each."""
    planes = [np.array(colour, np.float32)[:, None, None] for colour in colours]
    return np.stack([np.broadcast_to(plane, (3, 32, 32)) for plane in planes])


RED_GREEN_BLUE = images((255, 0, 0), (0, 255, 0), (0, 0, 255))


def assert_same(maps, expected, tolerance=1e-5):
    for name in ("score", "box", "presence"):
        found, wanted = getattr(maps, name), getattr(expected, name)
        assert found.shape == wanted.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("generation", fake_tensorrt_runtime.GENERATIONS)
def test_it_computes_what_onnx_runtime_computes(
    make_machine, generation, bundle, reference_backend, square_frame
):
    machine = make_machine(generation)
    frame = square_frame("red", "green")
    windows = [WHOLE, Crop(-40, 10, 160, 120, 320, 240)]
    tiles = [Crop(0, 80, 320, 32, 640, 64)]  # of the engine's other profile
    config = BackendConfig(engine_max_width=640, engine_max_height=240, engine_max_views=6)
    results, arrays = [], []
    with machine.open(bundle, config) as backend:
        for one in (backend, reference_backend):
            views = [one.encode_templates(RED_GREEN_BLUE[i : i + 1]) for i in range(2)]
            three = one.encode_templates(RED_GREEN_BLUE)
            packed = one.pack([three, *views, one.average(three)])
            arrays.append(one.as_array(packed))
            maps = []
            for crops in (windows, tiles, windows):
                maps.append(one.infer(to_blob([extract(frame, crop) for crop in crops]), packed))
                maps.append(one.infer(one.preprocess(frame, crops), packed))
            results.append(maps)
        assert backend.info.name == "tensorrt"
        assert backend.info.device == "Xavier"
        assert backend.info.precision == "fp16"
        assert backend.info.version == fake_tensorrt_runtime.VERSIONS[generation]
    for found, expected in zip(*results):
        assert_same(found, expected)
    assert arrays[0].shape[0] == 6
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-4)
    assert machine.leftovers() == []


def test_the_same_through_cuda_bindings(make_machine, bundle, reference_backend, square_frame):
    machine = make_machine("rtx", package="cuda-bindings")
    frame = square_frame("red", "green")
    blob = to_blob([extract(frame, WHOLE)])
    with machine.open(bundle) as backend:
        for turn in range(4):
            image = RED_GREEN_BLUE[turn % 2 : turn % 2 + 1]
            views, expected = (
                backend.encode_templates(image),
                reference_backend.encode_templates(image),
            )
            both = backend.pack([views, backend.average(views)])
            wanted = reference_backend.infer(blob, reference_backend.pack([expected, expected]))
            for frames in (blob, backend.preprocess(frame, [WHOLE])):
                assert_same(backend.infer(frames, both), wanted)
        assert machine.cuda.graphs_launched > 0
        machine.cuda.fail("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY")
        with pytest.raises(OutOfMemoryError, match="CUDA_ERROR_OUT_OF_MEMORY"):
            backend.encode_templates(np.repeat(RED_GREEN_BLUE, 2, axis=0))
        assert_same(backend.infer(blob, both), wanted)
        machine.cuda.fail("cuStreamSynchronize", "CUDA_ERROR_LAUNCH_FAILED")
        with pytest.raises(DeviceLostError):
            backend.infer(blob, both)
        machine.cuda.recover()
    del views, both
    assert machine.leftovers() == []


def test_cuda_bindings_without_a_gpu_or_compiler(make_machine, bundle):
    machine = make_machine(package="cuda-bindings")
    nvrtc = importlib.import_module("cuda.bindings.nvrtc")

    def missing():
        raise RuntimeError("libnvrtc.so not found")

    nvrtc.nvrtcGetSupportedArchs = missing
    with pytest.raises(BackendError, match=r"pip install nvidia-cuda-nvrtc .*libnvrtc.so"):
        machine.open(bundle)
    machine.cuda.devices = 0
    with pytest.raises(BackendError, match="CUDA_ERROR_NO_DEVICE"):
        importlib.import_module("refdet_core.backends.cuda").require_gpu()


def test_it_computes_what_onnx_runtime_computes_with_the_released_model(machine):
    released = load_bundle(DEFAULT_BUNDLE)
    random = np.random.RandomState(0)
    frame = random.randint(0, 256, (96, 128, 3), np.uint8)
    crops = [Crop(0, 0, 128, 96, 128, 96), Crop(10, 20, 128, 96, 128, 96)]
    photos = random.uniform(0, 255, (3, 3, 128, 128)).astype(np.float32)
    results = []
    config = BackendConfig(engine_max_width=128, engine_max_height=96)
    with machine.open(released, config) as gpu, open_backend("onnxruntime", released) as cpu:
        for one in (gpu, cpu):
            features = one.encode_templates(photos)
            results.append(one.infer(one.preprocess(frame, crops), features))
    assert_same(*results, tolerance=2e-3)
    assert machine.leftovers() == []


def test_template_kernels_never_leave_the_device(machine, bundle, square_frame):
    with machine.open(bundle) as backend:
        machine.cuda.copies.clear()
        views = [backend.encode_templates(RED_GREEN_BLUE[i : i + 1]) for i in range(3)]
        packed = backend.pack([*views, backend.average(backend.pack(views))])
        after_encoding = list(machine.cuda.copies)
        maps = backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), packed)
        down = [copy for copy in machine.cuda.copies if copy.direction == "dtoh"]
    assert "dtoh" not in {copy.direction for copy in after_encoding}
    assert sorted(copy.size for copy in down) == sorted(
        array.nbytes for array in (maps.score, maps.box, maps.presence)
    )
    kernels = {address for item in (*views, packed) for address in item.addresses.values()}
    assert not kernels & {copy.source for copy in down}
    assert machine.leftovers() == []


def test_a_frame_goes_up_once_as_bytes_and_only_as_far_as_it_is_looked_at(
    machine, bundle, square_frame
):
    frame = square_frame("red")
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])

        def uploaded(crops):
            machine.cuda.copies.clear()
            backend.infer(backend.preprocess(frame, crops), red)
            return [copy.size for copy in machine.cuda.copies if copy.direction == "htod"]

        (tiles,) = uploaded([Crop(0, 0, 176, 240, 176, 240), Crop(144, 0, 176, 240, 176, 240)])
        assert frame.nbytes <= tiles < frame.nbytes + 512
        (window,) = uploaded([Crop(60, 60, 48, 48, 96, 96)])
        assert 48 * 48 * 3 <= window < 48 * 48 * 3 + 512
        (outside,) = uploaded([Crop(-500, 0, 48, 48, 96, 96)])
        assert outside < 512


def test_a_frame_that_is_overwritten_is_seen_anew(machine, bundle, square_frame):
    frame = square_frame("red")
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        there = backend.preprocess(frame, [WHOLE])
        frame[:] = square_frame("green")
        gone = backend.preprocess(frame, [WHOLE])
        assert backend.infer(gone, red).presence[0, 0] < 0.1
        assert backend.infer(there, red).presence[0, 0] > 0.9


@pytest.mark.parametrize("generation", fake_tensorrt_runtime.GENERATIONS)
def test_more_tiles_than_the_engine_takes_at_once_are_run_in_batches(
    make_machine, generation, bundle, reference_backend, square_frame
):
    machine = make_machine(generation)
    frame = square_frame("red", "green", "blue")
    crops = [Crop(24 * i, 40, 120, 96, 120, 96) for i in range(7)]  # windows go by five
    config = BackendConfig(engine_max_width=320, engine_max_height=240, engine_max_views=2)
    results = []
    with machine.open(bundle, config) as backend:
        for one in (backend, reference_backend):
            before = machine.trt.runs
            features = one.encode_templates(RED_GREEN_BLUE[:2])
            results.append(one.infer(one.preprocess(frame, crops), features))
            results.append(one.infer(to_blob([extract(frame, each) for each in crops]), features))
            assert machine.trt.runs - before == (1 + 2 + 2 if one is backend else 0)
        with pytest.raises(BackendError, match="3 template views"):
            backend.encode_templates(RED_GREEN_BLUE)
    assert_same(results[0], results[2])
    assert_same(results[1], results[3])
    assert machine.leftovers() == []


def test_exchanging_templates_allocates_and_builds_nothing(machine, bundle, square_frame):
    frame = square_frame("red")
    photos = {name: square_frame(name)[y : y + 32, x : x + 32] for name, x, y in PLACES}
    with Detector.open(bundle.folder, "tensorrt", NATIVE, SMALL) as detector:
        for name in ("red", "green", "blue"):
            detector.set_template([Reference(photos[name])] * 2, name)
        for name in photos:  # the old and the new are there at the same time
            detector.set_template([Reference(photos[name])] * 2, name)
        detector.detect(frame)
        allocations, used = machine.cuda.allocations, machine.cuda.used
        loaded, changes = machine.trt.deserialized, machine.trt.shape_changes
        for round_number in range(1000):
            name = ("red", "green", "blue")[round_number % 3]
            detector.set_template([Reference(photos[name])] * 2, name)
        result = detector.detect(frame)
        assert {item.template_id for item in result.detections} == {"red"}
        assert machine.cuda.allocations == allocations
        assert machine.cuda.used == used
        assert machine.trt.deserialized == loaded == 2
        assert machine.trt.shape_changes == changes
    assert machine.leftovers() == []


def test_no_memory_while_opening(make_machine, bundle):
    machine = make_machine(capacity=3 << 19)
    with pytest.raises(OutOfMemoryError, match=r"CUDA_ERROR_OUT_OF_MEMORY, 2.*engine_max_tiles"):
        machine.open(bundle)
    assert machine.leftovers() == []


@pytest.mark.parametrize("after", range(0, 12, 2))
def test_opening_gives_back_what_it_took_wherever_it_fails(machine, bundle, after):
    machine.cuda.fail("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY", after)
    with contextlib.suppress(OutOfMemoryError):
        machine.open(bundle).close()
    assert machine.leftovers() == []


def test_the_old_templates_stay_when_there_is_no_memory_for_more(machine, bundle, square_frame):
    frame = square_frame("red", "green")
    red, green = (square_frame(name)[y : y + 32, x : x + 32] for name, x, y in PLACES[:2])
    with Detector.open(bundle.folder, "tensorrt", NATIVE, SMALL) as detector:
        detector.set_template([Reference(red)], "red")
        detector.detect(frame)
        full = detector.bank
        machine.cuda.capacity = machine.cuda.used
        features = []
        with pytest.raises(OutOfMemoryError, match="no memory left"):
            for _ in range(1000):
                features.append(detector.backend.encode_templates(RED_GREEN_BLUE[:2]))
        with pytest.raises(OutOfMemoryError):
            detector.set_template([Reference(green)] * 2, "green")
        assert detector.bank is full
        assert [item.template_id for item in detector.detect(frame).detections] == ["red"]
        features.clear()
        machine.cuda.capacity *= 2
        detector.set_template([Reference(green)] * 2, "green")
        found = {item.template_id for item in detector.detect(frame).detections}
        assert found == {"red", "green"}
    assert machine.leftovers() == []


def test_more_views_than_the_engine_takes_are_refused_and_the_old_ones_stay(
    machine, bundle, square_frame
):
    frame = square_frame("red")
    photo = Reference(square_frame("red")[84:116, 68:100])
    with Detector.open(bundle.folder, "tensorrt", NATIVE, SMALL) as detector:
        detector.set_template([photo], "red 0")
        detector.detect(frame)
        pinned = machine.cuda.live("pinned")
        buffers = [memory for memory in machine.cuda.live("device") if memory.size > 4096]
        for number in range(1, 6):
            detector.set_template([photo], f"red {number}")
            detector.detect(frame)
        assert machine.cuda.live("pinned") == pinned
        assert [each for each in machine.cuda.live("device") if each.size > 4096] == buffers
        with pytest.raises(BackendError, match=r"7 template views .* 6 .*engine_max_views"):
            detector.set_template([photo], "one more")
        assert len(detector.detect(frame).detections) == 6


@pytest.mark.parametrize("call", ["cuStreamSynchronize", "cuMemcpyHtoDAsync", "cuCtxPushCurrent"])
@pytest.mark.parametrize("error", ["CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_ERROR_ECC_UNCORRECTABLE"])
def test_a_lost_device_is_told_apart_and_can_be_closed(machine, bundle, square_frame, call, error):
    backend = machine.open(bundle)
    red = backend.encode_templates(RED_GREEN_BLUE[:1])
    code = fake_cuda.ERRORS[error][0]
    machine.cuda.fail(call, error)
    with pytest.raises(DeviceLostError, match=f"{error}, {code}"):
        backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), red)
    with pytest.raises(DeviceLostError):
        backend.encode_templates(RED_GREEN_BLUE)
    backend.close()
    backend.close()
    assert machine.cuda.context_depth == 0
    machine.cuda.recover()
    with machine.open(bundle) as again:
        features = again.encode_templates(RED_GREEN_BLUE[:1])
        maps = again.infer(again.preprocess(square_frame("red"), [WHOLE]), features)
        assert maps.presence[0, 0] > 0.9


def test_other_cuda_errors_have_their_name_and_code_and_pass(machine, bundle, square_frame):
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        crops = backend.preprocess(square_frame("red"), [WHOLE])
        machine.cuda.fail("cuLaunchKernel", "CUDA_ERROR_INVALID_VALUE")
        with pytest.raises(BackendError, match=r"cuLaunchKernel.*CUDA_ERROR_INVALID_VALUE, 1\)"):
            backend.infer(crops, red)
        assert backend.infer(crops, red).presence[0, 0] > 0.9
    assert machine.leftovers() == []


@pytest.mark.parametrize("generation", fake_tensorrt_runtime.GENERATIONS)
def test_tensorrt_refusing_to_run_is_an_error_with_its_reason(
    make_machine, generation, bundle, square_frame
):
    machine = make_machine(generation)
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        crops = backend.preprocess(square_frame("red"), [WHOLE])
        machine.trt.refuse, machine.trt.says = {"enqueue"}, "Error Code 1: Cuda Runtime (oops)"
        with pytest.raises(BackendError, match=r"cannot run the detector engine.*\(oops\)"):
            backend.infer(crops, red)
        machine.trt.refuse = set()
        assert backend.infer(crops, red).presence[0, 0] > 0.9
        machine.trt.refuse, machine.trt.says = {"shape"}, "Error Code 3: API Usage Error"
        with pytest.raises(BackendError, match="API Usage Error"):
            backend.infer(
                backend.preprocess(square_frame("red"), [Crop(0, 0, 64, 64, 64, 64)]), red
            )
        machine.trt.refuse = set()
        assert backend.infer(crops, red).presence[0, 0] > 0.9
    assert machine.leftovers() == []


def test_tensorrt_refusing_to_run_because_the_device_is_lost(machine, bundle, square_frame):
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        crops = backend.preprocess(square_frame("red"), [Crop(0, 0, 96, 96, 96, 96)])
        machine.trt.refuse = {"enqueue"}
        machine.cuda.fail("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS")
        with pytest.raises(DeviceLostError):
            backend.infer(crops, red)


@pytest.mark.parametrize("call", ["deserialize", "context", "profile", "shape", "enqueue"])
@pytest.mark.parametrize("generation", fake_tensorrt_runtime.GENERATIONS)
def test_tensorrt_refusing_while_opening_leaves_nothing_behind(
    make_machine, generation, bundle, call
):
    machine = make_machine(generation)
    machine.trt.refuse = {call}
    machine.trt.says = "Error Code 2: OutOfMemory (no further information)"
    with pytest.raises(OutOfMemoryError, match="no further information"):
        machine.open(bundle)
    assert machine.leftovers() == []


def test_shapes_the_engine_was_not_built_for_are_named(machine, bundle, square_frame):
    frame = square_frame("red", size=(1280, 960))
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        with pytest.raises(BackendError) as caught:
            backend.infer(backend.preprocess(frame, [Crop(0, 0, 1280, 960, 1280, 960)]), red)
        for words in ("frame 1x3x960x1280", "8..240 x 8..320", "tile_width", "engine_max_width"):
            assert words in str(caught.value)
        maps = backend.infer(backend.preprocess(frame, [WHOLE]), red)
        assert maps.presence[0, 0] > 0.9


def test_closing_twice_and_using_afterwards(machine, bundle, square_frame):
    backend = machine.open(bundle)
    red = backend.encode_templates(RED_GREEN_BLUE[:1])
    crops = backend.preprocess(square_frame("red"), [WHOLE])
    backend.close()
    backend.close()
    for use in (
        lambda: backend.infer(crops, red),
        lambda: backend.encode_templates(RED_GREEN_BLUE),
        lambda: backend.pack([red, red]),
        lambda: backend.preprocess(square_frame("red"), [WHOLE]),
    ):
        with pytest.raises(BackendError, match="closed"):
            use()
    assert machine.leftovers() == []


def test_features_of_another_backend_are_refused(machine, bundle, square_frame):
    with machine.open(bundle) as old:
        red = old.encode_templates(RED_GREEN_BLUE[:1])
    with machine.open(bundle) as new:
        own = new.encode_templates(RED_GREEN_BLUE[:1])
        crops = new.preprocess(square_frame("red"), [WHOLE])
        for use in (
            lambda: new.infer(crops, red),
            lambda: new.pack([own, red]),
            lambda: new.average(red),
        ):
            with pytest.raises(BackendError, match="encode the references again"):
                use()
    assert machine.leftovers() == []


def test_features_may_be_dropped_on_any_thread(machine, bundle):
    with machine.open(bundle) as backend:
        backend.encode_templates(RED_GREEN_BLUE)  # so much memory there is from now on
        before = machine.cuda.allocations
        for _ in range(5):
            features = [backend.encode_templates(RED_GREEN_BLUE)]
            thread = threading.Thread(target=features.clear)
            thread.start()
            thread.join()
        assert machine.cuda.allocations == before
    assert machine.leftovers() == []


def test_what_is_uploaded_may_be_overwritten_and_uploaded_again(machine):
    cuda = importlib.import_module("refdet_core.backends.cuda")
    buffers = importlib.import_module("refdet_core.backends.device_buffer")
    with cuda.Gpu() as gpu, gpu.active():
        buffer, result = buffers.DeviceBuffer(gpu), buffers.DeviceBuffer(gpu)
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        target = result.reserve(array.nbytes)
        gpu.copy_on_device(target, buffer.upload(array), array.nbytes)
        array[:] = 7
        assert buffer.upload(array) == buffer.reserve(array.nbytes)
        found = result.download((2, 3))
        gpu.synchronize()
        np.testing.assert_array_equal(found, [[0, 1, 2], [3, 4, 5]])
    assert machine.leftovers() == []


def test_it_leaves_the_thread_s_context_as_it_was(machine, bundle, square_frame):
    cuda = importlib.import_module("refdet_core.backends.cuda")
    with machine.open(bundle) as backend:
        assert machine.cuda.context_depth == 0
        with cuda.Gpu() as other, other.active():
            red = backend.encode_templates(RED_GREEN_BLUE[:1])
            backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), red)
            with pytest.raises(BackendError):
                backend.infer(np.zeros((1, 3, 1000, 1000), np.float32), red)
            assert machine.cuda.context_depth == 1
            assert other.memory.total == machine.cuda.capacity
    assert machine.leftovers() == []


@pytest.mark.parametrize("generation", fake_tensorrt_runtime.GENERATIONS)
def test_runs_in_the_same_shapes_are_replayed_as_graphs(
    make_machine, generation, bundle, square_frame
):
    machine = make_machine(generation)
    frame = square_frame("red")
    with machine.open(bundle) as backend:
        red, green = (backend.encode_templates(RED_GREEN_BLUE[i : i + 1]) for i in (0, 1))

        def seen(features, crop=WHOLE):
            before = machine.cuda.graphs_launched
            maps = backend.infer(backend.preprocess(frame, [crop]), features)
            is_there = maps.presence[0, 0] > 0.9
            return is_there, machine.cuda.graphs_launched - before

        other = Crop(0, 0, 304, 240, 304, 240)
        seen(red, other)
        assert seen(red) == (True, 0)
        assert seen(red) == (True, 1)
        assert seen(green) == (False, 1)  # other addresses, in the same shapes
        assert seen(red) == (True, 1)
        assert machine.cuda.live_graphs == 3 + 1  # the last: of encoding templates
        frame[:] = square_frame("green")
        assert seen(red) == (False, 1)
        assert seen(green) == (True, 1)
        assert seen(green, other) == (True, 0)
        assert machine.cuda.live_graphs == 1 + 1
        assert seen(green) == (True, 0)
    assert machine.leftovers() == []


@pytest.mark.parametrize("failing", ["cuStreamBeginCapture", "cuGraphInstantiateWithFlags", None])
def test_without_graphs_it_says_so_once_and_goes_on(
    make_machine, bundle, square_frame, caplog, failing
):
    machine = make_machine(graphs=failing is not None)
    if failing is not None:
        machine.cuda.fail(failing, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
    caplog.set_level(logging.INFO, "refdet_core")
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        for _ in range(4):
            maps = backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), red)
            assert maps.presence[0, 0] > 0.9
    assert machine.cuda.graphs_launched == 0
    assert sum("CUDA graphs are not available" in record.message for record in caplog.records) == 1
    assert machine.leftovers() == []


def test_a_device_lost_while_recording_is_a_lost_device(machine, bundle, square_frame):
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), red)
        machine.cuda.fail("cuGraphLaunch", "CUDA_ERROR_LAUNCH_FAILED")
        with pytest.raises(DeviceLostError, match="CUDA_ERROR_LAUNCH_FAILED, 719"):
            for _ in range(3):
                backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), red)


@pytest.mark.parametrize("search", ["tiles", "auto"])
def test_a_detector_finds_the_same_as_with_onnx_runtime(machine, bundle, square_frame, search):
    config = DetectorConfig(search=search, track_update_s=0.05, tile_width=176, tile_overlap=64)
    results = []
    for name in ("tensorrt", "onnxruntime"):
        with Detector.open(bundle.folder, name, config, ROOMY) as detector:
            photo = square_frame("red")
            detector.set_template([Reference(photo, RED)], "red")
            found = []
            for step in range(12):
                frame = np.roll(photo, 3 * step, axis=1)
                detections = detector.detect(frame, time_s=step / 30).detections
                found.append([item.bbox_xyxy for item in detections])
            assert detector.detect(square_frame("green"), time_s=1).detections == ()
            results.append(found)
    for tensorrt, onnxruntime in zip(*results):
        np.testing.assert_allclose(tensorrt, onnxruntime, atol=0.2)
    ((x1, *_),) = results[0][-1]
    assert x1 == pytest.approx(RED[0] + 33, abs=1)
    assert machine.leftovers() == []


def test_an_engine_is_run_once(machine, bundle):
    run_once = importlib.import_module("refdet_core.backends.tensorrt_engine").run_once
    engine = machine.engines(bundle, SMALL, "fp16").template_encoder
    outputs = run_once(engine, {"image": RED_GREEN_BLUE})
    np.testing.assert_allclose(outputs["kernel"].reshape(3, 3), np.eye(3), atol=1e-6)
    with pytest.raises(BackendError, match="stdVersionRead"):
        run_once(b"garbage", {"image": RED_GREEN_BLUE})
    assert machine.leftovers() == []


@pytest.mark.parametrize(
    ("generation", "version"),
    [
        ("8.5", "8.5.3.1"),
        pytest.param("8.4", "8.4.1", marks=pytest.mark.slow),
        pytest.param("10", "10.3.0", marks=pytest.mark.slow),
    ],
)
def test_from_a_bundle_to_results_with_engines_that_are_built_and_kept(
    make_machine, generation, version, tmp_path
):
    builder = fake_tensorrt.FakeTensorRT(version)
    machine = make_machine(generation, builder.module())
    config = BackendConfig(
        engine_folder=str(tmp_path), engine_max_width=96, engine_max_height=64, engine_max_views=2
    )
    released = load_bundle(DEFAULT_BUNDLE)
    random = np.random.RandomState(0)
    frame = random.randint(0, 256, (64, 96, 3), np.uint8)
    photos = random.uniform(0, 255, (2, 3, 128, 128)).astype(np.float32)
    crops = [Crop(0, 0, 96, 64, 96, 64)]
    results = []
    for _ in range(2):
        with machine.open(released, config) as backend:
            features = backend.encode_templates(photos)
            results.append(backend.infer(backend.preprocess(frame, crops), features))
        assert machine.leftovers() == []
        assert len(builder.builds) == 2
    with open_backend("onnxruntime", released) as backend:
        features = backend.encode_templates(photos)
        results.append(backend.infer(backend.preprocess(frame, crops), features))
    for found in results[:2]:
        assert_same(found, results[2], tolerance=2e-3)


@pytest.mark.parametrize("generation", fake_tensorrt_runtime.GENERATIONS)
def test_kept_engines_that_tensorrt_does_not_take_are_built_anew(
    make_machine, generation, bundle, square_frame
):
    machine = make_machine(generation)
    machine.trt.refuse = {"deserialize"}
    machine.trt.says = "The engine plan file is generated on an incompatible device"
    with machine.open(bundle) as backend:
        assert ["incompatible device" in reason for reason in machine.rebuilt] == [True]
        features = backend.encode_templates(images((255, 0, 0)))
        assert backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), features).score.max()
    assert machine.leftovers() == []


@pytest.mark.parametrize("generation", fake_tensorrt_runtime.GENERATIONS)
def test_engines_that_do_not_fit_are_refused(make_machine, generation, bundle, monkeypatch):
    machine = make_machine(generation)
    engines = machine.engines(bundle, SMALL, "fp16")
    module = importlib.import_module("refdet_core.backends.tensorrt")
    swapped = SimpleNamespace(template_encoder=engines.detector, detector=engines.template_encoder)
    monkeypatch.setattr(module, "ready_engines", lambda *_, **__: swapped)
    with pytest.raises(BackendError, match="template engine does not fit the bundle"):
        machine.open(bundle)
    halves = SimpleNamespace(
        template_encoder=fake_tensorrt_runtime.serialize(
            bundle.template_graph.read_bytes(),
            [{"image": ((1, 3, 32, 32),) * 3}],
            half=True,
        )
    )
    monkeypatch.setattr(module, "ready_engines", lambda *_, **__: halves)
    with pytest.raises(BackendError, match="not float32"):
        machine.open(bundle)
    assert machine.leftovers() == []


def test_a_machine_without_a_compiler_is_told_how_to_get_it(machine, bundle, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    cuda = importlib.import_module("refdet_core.backends.cuda")
    monkeypatch.setattr(cuda, "_DEFAULT_CUDA", "/nowhere")
    with pytest.raises(BackendError, match=r"nvcc was not found.*PATH"):
        machine.open(bundle)
    assert machine.leftovers() == []


@pytest.mark.parametrize(
    "problem",
    [
        FileNotFoundError("no such folder"),
        fake_cuda.LogicError("cuModuleLoadDataEx failed: device kernel image is invalid"),
    ],
    ids=["nowhere to write", "half a file kept"],
)
def test_a_useless_cache_of_kernels_is_done_without(machine, bundle, square_frame, problem):
    machine.cuda.compile_cache_problem = problem
    with machine.open(bundle) as backend:
        red = backend.encode_templates(RED_GREEN_BLUE[:1])
        assert backend.infer(backend.preprocess(square_frame("red"), [WHOLE]), red).score.max()
    assert machine.leftovers() == []


def test_an_engine_of_one_frame_size_takes_smaller_frames(
    machine, bundle, reference_backend, square_frame
):
    config = replace(SMALL, engine_dla=0)
    frame = square_frame("red", "green")
    window = Crop(16, 32, 160, 128, 160, 128)  # both sides smaller, the green square outside
    with machine.open(bundle, config) as backend:
        for crops in ([WHOLE], [window], [window] * 3):
            found, expected = (
                each.infer(each.preprocess(frame, crops), each.encode_templates(RED_GREEN_BLUE[:2]))
                for each in (backend, reference_backend)
            )
            assert found.score.shape == expected.score.shape
            assert found.box.shape == expected.box.shape
            # to the right and below it sees grey where there was nothing
            inner = (..., slice(0, -2), slice(0, -2))
            np.testing.assert_allclose(found.score[inner], expected.score[inner], atol=1e-5)
        with pytest.raises(BackendError, match="frame 1x3x256x320"):
            backend.infer(
                backend.preprocess(frame, [Crop(0, 0, 320, 256, 320, 256)]), red_of(backend)
            )
    assert machine.leftovers() == []


def red_of(backend):
    return backend.encode_templates(RED_GREEN_BLUE[:1])


@pytest.mark.parametrize(("tiles", "batches"), [(5, 1), (6, 2), (8, 2), (10, 2), (12, 3)])
def test_batches_are_even_so_that_they_can_be_replayed(
    machine, bundle, square_frame, tiles, batches
):
    with machine.open(bundle) as backend:
        red = red_of(backend)
        for _ in range(3):
            maps = backend.infer(backend.preprocess(square_frame("red"), [WHOLE] * tiles), red)
        assert maps.score.shape[0] == tiles
        before = machine.cuda.graphs_launched
        backend.infer(backend.preprocess(square_frame("red"), [WHOLE] * tiles), red)
        assert machine.cuda.graphs_launched - before == batches


def test_auto_takes_tensorrt_where_there_is_a_gpu(machine, bundle, monkeypatch):
    with open_backend("auto", bundle, SMALL) as backend:
        assert backend.info.name == "tensorrt"


def test_auto_passes_over_tensorrt_without_a_gpu_and_says_so_once(machine, bundle, caplog):
    machine.cuda.devices = 0
    caplog.set_level(logging.INFO, "refdet_core")
    for _ in range(2):
        with open_backend("auto", bundle, SMALL) as backend:
            assert backend.info.name == "onnxruntime"
    told = [
        record.message for record in caplog.records if "no CUDA-capable device" in record.message
    ]
    assert len(told) == 1
    with pytest.raises(BackendError, match="CUDA_ERROR_NO_DEVICE, 100"):
        machine.open(bundle)


PLACES = (("red", 68, 84), ("green", 204, 116), ("blue", 140, 20))
