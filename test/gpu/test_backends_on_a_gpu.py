"""What every backend on a GPU must do, against ONNX Runtime on the CPU."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from gpu.scene import OBJECTS, assert_alike, scene, search_crops, template_images

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BackendError
from refdet_core.types import Reference

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]  # a Jetson builds engines for minutes

BACKENDS = ("tensorrt", "torch")
# As the searches ask for: a tile of a frame, tiles of a larger one, windows around targets.
SHAPES = {
    "tile": (1, 1280, 726, 1072, 608),
    "tiles": (3, 1280, 726, 1072, 608),
    "window": (1, 256, 256, 192, 192),
    "windows": (5, 150, 150, 192, 192),
    "letterbox": (1, 1600, 900, 640, 368),
}


def looked_at(backend, frame, crops, features):
    return backend.infer(backend.preprocess(frame, crops), features)


def encoded(backend, *names, frame=None):
    images = template_images(load_bundle(), names, scene() if frame is None else frame)
    return backend.encode_templates(images)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", BACKENDS)
def test_same_maps_as_on_the_cpu(open_on_gpu, on_cpu, name, precision, shape):
    backend = open_on_gpu(name, precision=precision)
    assert backend.info.precision == precision and backend.info.device != "cpu"
    crops, frame = search_crops(*SHAPES[shape]), scene()
    found = looked_at(backend, frame, crops, encoded(backend, *OBJECTS))
    expected = looked_at(on_cpu, frame, crops, encoded(on_cpu, *OBJECTS))
    assert expected.presence.max() > 0.5, "the scene must show something"
    assert_alike(found, expected, precision)


@pytest.mark.parametrize("views", [1, 2, 20])
@pytest.mark.parametrize("name", BACKENDS)
def test_any_number_of_views(open_on_gpu, on_cpu, name, views):
    names = [list(OBJECTS)[index % 2] for index in range(views)]
    crops = search_crops(*SHAPES["window"])
    maps = []
    for backend in (open_on_gpu(name, precision="fp32"), on_cpu):
        features = backend.pack([encoded(backend, each) for each in names])
        maps.append(looked_at(backend, scene(), crops, features))
    assert maps[0].score.shape[1] == views
    assert_alike(maps[0], maps[1], "fp32")


@pytest.mark.parametrize("name", BACKENDS)
def test_features_are_read_back(open_on_gpu, on_cpu, name):
    backend = open_on_gpu(name, precision="fp32")
    found, expected = (one.as_array(encoded(one, *OBJECTS)) for one in (backend, on_cpu))
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_prototype_is_the_mean(open_on_gpu, on_cpu, name):
    crops, maps = search_crops(*SHAPES["window"]), []
    for backend in (open_on_gpu(name, precision="fp32"), on_cpu):
        prototype = backend.average(encoded(backend, *OBJECTS))
        maps.append(looked_at(backend, scene(), crops, prototype))
    assert_alike(maps[0], maps[1], "fp32")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", BACKENDS)
def test_what_is_replayed_is_computed_anew(open_on_gpu, on_cpu, name, precision):
    """The third look at one shape comes from a CUDA graph; frame and template still count."""
    backend = open_on_gpu(name, precision=precision)
    small, large = search_crops(*SHAPES["window"]), search_crops(*SHAPES["tile"])
    features = {each: (encoded(backend, each), encoded(on_cpu, each)) for each in OBJECTS}
    for turn in range(8):
        frame = scene(seed=turn, shift=(8 * turn, 4 * turn))
        for crops in (small, large) if turn % 2 else (large,):
            here, there = features["disc" if turn % 3 else "cross"]
            expected = looked_at(on_cpu, frame, crops, there)
            assert_alike(looked_at(backend, frame, crops, here), expected, precision)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_same_frame_gives_the_same_maps(open_on_gpu, name):
    backend = open_on_gpu(name)
    features, crops = encoded(backend, *OBJECTS), search_crops(*SHAPES["tile"])
    maps = [looked_at(backend, scene(), crops, features) for _ in range(6)]
    for later in maps[1:]:
        np.testing.assert_allclose(later.score, maps[0].score, atol=1e-3)


@pytest.mark.parametrize("name", BACKENDS)
def test_results_outlive_the_next_look(open_on_gpu, name):
    backend = open_on_gpu(name)
    features, crops = encoded(backend, "disc"), search_crops(*SHAPES["window"])
    first = looked_at(backend, scene(), crops, features)
    kept = first.score.copy()
    looked_at(backend, scene(seed=9), crops, features)
    np.testing.assert_array_equal(first.score, kept)


@pytest.mark.parametrize("search", ["tiles", "auto"])
@pytest.mark.parametrize("name", BACKENDS)
def test_the_detector_finds_the_same(need, engine_folder, name, search):
    need(name)
    found = {}
    for backend in (name, "onnxruntime"):
        config = DetectorConfig(search=search)
        settings = BackendConfig(engine_folder=str(engine_folder))
        with Detector.open(backend=backend, config=config, backend_config=settings) as detector:
            detector.set_template([Reference(scene(), OBJECTS["disc"])], "disc")
            results = [detector.detect(scene(shift=(4 * step, 0))) for step in range(6)]
            detector.set_template([Reference(scene(), OBJECTS["cross"])], "disc")
            results.append(detector.detect(scene()))
            found[backend] = [[item.bbox_xyxy for item in each.detections] for each in results]
    assert [len(boxes) for boxes in found[name]] == [len(b) for b in found["onnxruntime"]]
    assert any(found["onnxruntime"])
    for here, there in zip(found[name], found["onnxruntime"]):
        if there:
            np.testing.assert_allclose(here, there, atol=4)


@pytest.mark.parametrize("name", BACKENDS)
def test_another_thread_may_own_it(need, open_on_gpu, name):
    """The node's worker opens the backend and is the only one to call it."""
    need(name)
    presence = []

    def work():
        backend = open_on_gpu(name)
        maps = looked_at(backend, scene(), search_crops(*SHAPES["tile"]), encoded(backend, "disc"))
        presence.append(maps.presence)
        backend.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(presence) == 1 and np.isfinite(presence[0]).all()


@pytest.mark.parametrize("name", BACKENDS)
def test_closing_twice_and_opening_again(open_on_gpu, name):
    for _ in range(2):
        backend = open_on_gpu(name)
        features = encoded(backend, "disc")
        looked_at(backend, scene(), search_crops(*SHAPES["window"]), features)
        backend.close()
        backend.close()


def test_a_closed_tensorrt_backend_says_so(open_on_gpu):
    backend = open_on_gpu("tensorrt")
    features = encoded(backend, "disc")
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        looked_at(backend, scene(), search_crops(*SHAPES["window"]), features)
