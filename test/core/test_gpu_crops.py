from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import cuda_on_cpu
import fake_cuda
import fake_tensorrt_runtime
import numpy as np
import pytest

import refdet_core.backends
from refdet_core.backends.engines.samples import draw_scene
from refdet_core.imaging import Crop, extract, letterbox, square_around, to_blob

SOURCES = sorted(Path(refdet_core.backends.__file__).parent.glob("*.cu"))
CROPS = next(source for source in SOURCES if source.stem == "gpu_crops")
MEAN = next(source for source in SOURCES if source.stem == "mean_views")
NVCC = shutil.which("nvcc")
AS_GPUS_DO = ("-mfma", "-ffp-contract=fast")
"""They multiply and add in one step, with one rounding instead of two."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="module")
def cropper(folder):
    """A GpuCropper on a double of CUDA whose kernels the CPU runs."""
    cuda = fake_cuda.FakeCuda(folder)
    tensorrt = fake_tensorrt_runtime.FakeTensorRT(cuda, "8.5")
    with fake_cuda.installed(cuda, tensorrt.module()):
        from refdet_core.backends.cuda import Gpu
        from refdet_core.backends.gpu_crops import GpuCropper

        with Gpu() as gpu, gpu.active():
            yield Cropping(gpu, GpuCropper(gpu))


class Cropping:
    def __init__(self, gpu, cropper):
        self._gpu = gpu
        self._cropper = cropper

    def __call__(self, frame, crops, start=0, end=None):
        """What the detector would see, ``(B, 3, H, W)``."""
        uploaded = self._cropper.upload(frame, crops)
        count, *shape = uploaded.shape
        end = count if end is None else end
        size = 4 * int(np.prod(shape)) * (end - start)
        planes, host = self._gpu.allocate(size), self._gpu.allocate_pinned(size)
        self._cropper.cut(uploaded, start, end, planes.address)
        array = host.array((end - start, *shape), np.float32)
        self._gpu.copy_to_host(array, planes.address)
        self._gpu.synchronize()
        result = array.copy()
        self._gpu.free(planes)
        self._gpu.free(host)
        return result


def on_cpu(frame, crops):
    return to_blob([extract(frame, crop) for crop in crops])


@pytest.fixture(scope="module")
def frames():
    random = np.random.RandomState(0)
    noise = random.randint(0, 256, (180, 250, 3), np.uint8)
    return [draw_scene(320, 240, 1).frame_bgr, noise, draw_scene(640, 360, 2).frame_bgr[:, ::-1]]


def random_crops(frame, random, count):
    """Some of one size: enlarged up to 8 times, shrunk up to 8 times, over any border, outside."""
    height, width = frame.shape[:2]
    out_width, out_height = (int(side) * 16 for side in random.randint(1, 9, 2))
    scales = 2 ** random.uniform(-3, 3, count)
    crops = []
    for scale in scales:
        sides = [
            max(1, int(side * scale * random.uniform(0.8, 1.25)))
            for side in (out_width, out_height)
        ]
        x, y = random.randint(-sides[0], width + 1), random.randint(-sides[1], height + 1)
        crops.append(Crop(int(x), int(y), sides[0], sides[1], out_width, out_height))
    return crops


def test_random_crops_equal_opencv_s(cropper, frames):
    random = np.random.RandomState(1)
    differing, pixels = 0, 0
    for index in range(150):
        frame = frames[index % len(frames)]
        crops = random_crops(frame, random, count=1 + index % 3)
        difference = np.abs(cropper(frame, crops) - on_cpu(frame, crops))
        assert difference.max() <= 1, crops
        differing += np.count_nonzero(difference)
        pixels += difference.size
    assert differing < 1e-3 * pixels


CASES = {
    "as it is": Crop(10, 20, 96, 64, 96, 64),
    "half": Crop(0, 0, 192, 128, 96, 64),
    "a quarter": Crop(0, 0, 240, 160, 60, 40),
    "just less than two thirds": Crop(0, 0, 160, 100, 106, 66),
    "two thirds": Crop(0, 0, 150, 120, 100, 80),
    "narrower alone": Crop(0, 0, 200, 80, 50, 80),
    "one pixel": Crop(7, 9, 1, 1, 32, 32),
    "to one column": Crop(0, 0, 200, 100, 1, 16),
    "at the corner": Crop(-30, -30, 64, 64, 96, 96),
    "at the other corner": Crop(220, 160, 64, 64, 96, 96),
    "touching the border": Crop(249, 0, 64, 64, 32, 32),
    "around everything": Crop(-300, -300, 900, 900, 128, 128),
    "outside": Crop(-500, 40, 100, 100, 32, 32),
    "letterboxed": letterbox((250, 180), (128, 128)),
    "a reference": square_around((100, 60, 140, 110), 0.5, 128),
    "a black border": Crop(-30, -30, 64, 64, 96, 96, "black"),
    "a border of the mean colour": Crop(220, 160, 64, 64, 96, 96, "mean"),
    "a border of a colour": Crop(-500, 40, 100, 100, 32, 32, (10, 20, 250)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_crop_equals_opencv_s(cropper, frames, name):
    for frame in frames:
        found, wanted = cropper(frame, [CASES[name]]), on_cpu(frame, [CASES[name]])
        np.testing.assert_allclose(found, wanted, atol=1)


def test_by_hand(cropper):
    frame = np.zeros((2, 4, 3), np.uint8)
    frame[:, :, 0] = [0, 100, 200, 40]  # blue
    frame[:, :, 2] = 7  # red
    doubled = cropper(frame, [Crop(0, 0, 4, 2, 8, 4)])[0]
    np.testing.assert_array_equal(doubled[2], [[0, 25, 75, 125, 175, 160, 80, 40]] * 4)
    np.testing.assert_array_equal(doubled[0], np.full((4, 8), 7))
    halved = cropper(frame, [Crop(0, 0, 4, 2, 2, 1)])[0]
    np.testing.assert_array_equal(halved[2], [[50, 120]])
    padded = cropper(frame, [Crop(2, 0, 4, 2, 4, 2)])[0]
    np.testing.assert_array_equal(padded[2], [[200, 40, 114, 114]] * 2)


def test_crops_are_cut_from_one_upload_in_parts(cropper, frames):
    frame = frames[0]
    crops = [Crop(20 * i - 40, 10 * i, 90, 70, 64, 48) for i in range(7)]
    wanted = on_cpu(frame, crops)
    np.testing.assert_allclose(cropper(frame, crops, 0, 4), wanted[:4], atol=1)
    np.testing.assert_allclose(cropper(frame, crops, 4, 7), wanted[4:], atol=1)


def test_rounding_as_gpus_do_changes_a_pixel_by_one_at_most(folder, frames, cropper):
    if "fma" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("this CPU cannot multiply and add in one step")
    from refdet_core.backends.gpu_crops import crop_table

    run = cuda_on_cpu.compile_for_cpu(CROPS, "crop_tiles", "PiPPii", folder, *AS_GPUS_DO)
    random = np.random.RandomState(2)
    for index in range(60):
        frame = np.ascontiguousarray(frames[index % len(frames)])
        (crop,) = random_crops(frame, random, count=1)
        table = crop_table(frame, [crop])
        planes = np.full((1, 3, crop.out_height, crop.out_width), np.nan, np.float32)
        run(
            (-(-crop.out_width // 32), -(-crop.out_height // 8), 1),
            (32, 8, 1),
            frame.ctypes.data,
            frame.strides[0],
            table.ctypes.data,
            planes.ctypes.data,
            crop.out_width,
            crop.out_height,
        )
        np.testing.assert_allclose(planes, on_cpu(frame, [crop]), atol=1)


def test_the_mean_of_views(folder):
    run = cuda_on_cpu.compile_for_cpu(MEAN, "mean_views", "PPii", folder)
    kernels = np.random.RandomState(3).randn(5, 300).astype(np.float32)
    mean = np.full(300, np.nan, np.float32)
    run((2, 1, 1), (256, 1, 1), kernels.ctypes.data, mean.ctypes.data, 5, 300)
    np.testing.assert_allclose(mean, kernels.mean(axis=0), rtol=1e-6)


def known_architectures():
    listed = subprocess.run([NVCC, "--list-gpu-arch"], capture_output=True, text=True, check=True)
    return [int(number) for number in re.findall(r"compute_(\d+)", listed.stdout)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
@pytest.mark.parametrize("architecture", [72, 75, 87, 90])  # Xavier, desktops, Orin, servers
def test_cuda_s_compiler_takes_the_kernels(source, architecture, tmp_path):
    if NVCC is None:
        pytest.skip("nvcc is not installed")
    if architecture not in known_architectures():
        pytest.skip(f"this CUDA does not know sm_{architecture} any more, or not yet")
    target = tmp_path / "kernel.cubin"
    flags = ("-Werror", "all-warnings", f"-arch=sm_{architecture}", "-cubin")
    subprocess.run([NVCC, *flags, str(source), "-o", str(target)], check=True)
    assert target.stat().st_size > 0
