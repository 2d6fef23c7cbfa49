"""What only TensorRT has: engines in a folder, INT8, crops cut on the GPU, limits of shapes."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from gpu.scene import OBJECTS, assert_alike, scene, search_crops, template_images

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.errors import BackendError
from refdet_core.imaging import Crop, extract, to_blob

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]  # a Jetson builds engines for minutes

WINDOW = (1, 256, 256, 192, 192)


def engines_in(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.engine")}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_are_built_once_and_described(open_on_gpu, engine_folder, precision):
    backend = open_on_gpu("tensorrt", precision=precision)
    device = backend.info.device
    backend.close()
    before = engines_in(engine_folder)
    sidecars = [
        json.loads((engine_folder / f"{name}.json").read_text())
        for name in before
        if f"-{precision}-" in name
    ]
    assert {item["identity"]["graph"] for item in sidecars} == {"template_encoder", "detector"}
    assert {item["identity"]["gpu"] for item in sidecars} == {device}
    open_on_gpu("tensorrt", precision=precision)
    assert engines_in(engine_folder) == before


def test_a_damaged_engine_is_built_again(open_on_gpu, tmp_path):
    open_on_gpu("tensorrt", precision="fp32").close()
    settings = {"precision": "fp32", "engine_max_tiles": 1, "engine_max_views": 2}
    from refdet_core.backends.engines.cache import ready_engines

    config = BackendConfig(engine_folder=str(tmp_path), **settings)
    ready_engines(load_bundle(), config, "fp32")
    for path in tmp_path.glob("*.engine"):
        path.write_bytes(path.read_bytes()[:1000])
    engines = ready_engines(load_bundle(), config, "fp32")
    assert len(engines.detector) > 1000
    assert all(path.stat().st_size > 1000 for path in tmp_path.glob("*.engine"))


def test_int8_is_calibrated_and_finds_the_same_place(open_on_gpu, on_cpu, tmp_path):
    for index in range(8):
        frame = scene(seed=index, shift=(20 * index, 10 * index))
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    backend = open_on_gpu("tensorrt", precision="int8", engine_calibration=str(tmp_path))
    assert backend.info.precision == "int8"
    crops, peaks = search_crops(1, 1280, 726, 1072, 608), []
    for each in (backend, on_cpu):
        features = each.encode_templates(template_images(load_bundle(), ["disc"], scene()))
        score = each.infer(each.preprocess(scene(), crops), features).score[0, 0]
        peaks.append(np.unravel_index(score.argmax(), score.shape))
    np.testing.assert_allclose(peaks[0], peaks[1], atol=1)


@pytest.fixture
def cut_on_gpu(need):
    """A function that cuts crops of a frame on the GPU; ``(B, 3, H, W)`` float32."""
    need("tensorrt")
    from refdet_core.backends.cuda import Gpu
    from refdet_core.backends.gpu_crops import GpuCropper

    with Gpu() as gpu, gpu.active():
        cropper = GpuCropper(gpu)

        def cut(frame, crops):
            on_device = cropper.upload(frame, crops)
            size = int(np.prod(on_device.shape)) * 4
            device, host = gpu.allocate(size), gpu.allocate_pinned(size)
            cropper.cut(on_device, 0, len(crops), device.address)
            values = host.array(on_device.shape, np.float32)
            gpu.copy_to_host(values, device.address)
            gpu.synchronize()
            return values.copy()

        yield cut


@pytest.mark.parametrize(
    "crops",
    [
        search_crops(1, 1280, 726, 1072, 608),
        search_crops(4, 1280, 736, 1280, 736),
        search_crops(5, 150, 150, 192, 192),
        search_crops(3, 700, 700, 192, 192),
        search_crops(1, 3000, 2000, 640, 368),
        [Crop(2000, 2000, 64, 64, 64, 64), Crop(-500, 0, 64, 64, 64, 64)],
        [Crop(1279, 719, 1, 1, 16, 16)],
    ],
    ids=["tile", "native", "enlarged", "shrunk", "letterbox", "outside", "one pixel"],
)
@pytest.mark.parametrize("contiguous", [True, False])
def test_crops_are_those_of_the_cpu(cut_on_gpu, crops, contiguous):
    from refdet_core.backends.gpu_crops import PIXEL_TOLERANCE

    frame = scene() if contiguous else np.dstack([scene(), scene()])[:, :, 1:4]
    expected = to_blob([extract(np.ascontiguousarray(frame), crop) for crop in crops])
    np.testing.assert_allclose(cut_on_gpu(frame, crops), expected, atol=PIXEL_TOLERANCE)


def test_more_tiles_than_the_engine_takes_are_run_in_turns(open_on_gpu, on_cpu):
    backend = open_on_gpu("tensorrt", precision="fp32")
    crops = search_crops(2 * BackendConfig().engine_max_tiles + 1, 1280, 726, 1072, 608)
    maps = []
    for each in (backend, on_cpu):
        features = each.encode_templates(template_images(load_bundle(), OBJECTS, scene()))
        maps.append(each.infer(each.preprocess(scene(), crops), features))
    assert_alike(maps[0], maps[1], "fp32")


def test_what_the_engine_was_not_built_for_is_refused_and_the_rest_goes_on(open_on_gpu):
    backend = open_on_gpu("tensorrt")
    images = template_images(load_bundle(), ["disc"], scene())
    view = backend.encode_templates(images)
    crops = search_crops(*WINDOW)
    before = backend.infer(backend.preprocess(scene(), crops), view)
    with pytest.raises(BackendError, match="views"):
        backend.pack([view] * (BackendConfig().engine_max_views + 1))
    with pytest.raises(BackendError, match="engine"):
        huge = [Crop(0, 0, 1280, 720, 4096, 4096)]
        backend.infer(backend.preprocess(scene(), huge), view)
    after = backend.infer(backend.preprocess(scene(), crops), view)
    np.testing.assert_allclose(after.score, before.score, atol=1e-3)


def test_a_new_template_takes_no_more_memory(open_on_gpu):
    backend = open_on_gpu("tensorrt")
    from refdet_core.backends.cuda import Gpu

    images = template_images(load_bundle(), ["disc"], scene())
    crops = search_crops(*WINDOW)

    def free_bytes():
        with Gpu() as gpu, gpu.active():
            return gpu.memory.free

    for turn in range(20):
        backend.infer(backend.preprocess(scene(), crops), backend.encode_templates(images))
        if turn == 9:
            settled = free_bytes()
    assert free_bytes() >= settled - (8 << 20)  # other programs use the GPU, too
