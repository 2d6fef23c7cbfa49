"""The torch backend, as far as a CPU can show it; test/gpu has the rest."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from refdet_core.backends import open_backend  # noqa: E402
from refdet_core.backends.config import BackendConfig  # noqa: E402
from refdet_core.backends.torch import (  # noqa: E402
    DEVICE,
    TorchBackend,
    device_errors,
    load_network,
)
from refdet_core.backends.torch_graphs import MOST_RECORDINGS, Replayed  # noqa: E402
from refdet_core.bundle import load_bundle  # noqa: E402
from refdet_core.detector import Detector  # noqa: E402
from refdet_core.errors import BackendError, DeviceLostError, OutOfMemoryError  # noqa: E402
from refdet_core.types import Reference  # noqa: E402

on_cpu = pytest.mark.skipif(DEVICE.type != "cpu", reason="torch is on a GPU here: see test/gpu")


@pytest.fixture(scope="module")
def bundle():
    return load_bundle()


@pytest.fixture(scope="module")
def blobs():
    """Two template crops and a batch of two frames with one of them in it."""
    random = np.random.default_rng(7)
    photo = random.integers(0, 255, (16, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)
    frames = np.full((2, 3, 256, 320), 90, np.float32)
    frames += random.normal(0, 20, frames.shape).astype(np.float32)
    frames[0, :, 96:160, 128:192] = photo.transpose(2, 0, 1)[:, ::2, ::2]
    templates = np.full((2, 3, 128, 128), 110, np.float32)
    templates[:, :, 32:96, 32:96] = photo.transpose(2, 0, 1)[:, ::2, ::2]
    templates[1] = templates[1, ::-1]
    return templates, np.clip(frames, 0, 255)


def run(backend, templates, frames):
    features = [backend.encode_templates(template[None]) for template in templates]
    both = backend.average(backend.pack(features))
    return backend.infer(frames, backend.pack([*features, both]))


@on_cpu
def test_features_are_read_as_onnxruntime_has_them(bundle, blobs):
    arrays = []
    for name in ("onnxruntime", "torch"):
        with open_backend(name, bundle) as backend:
            arrays.append(backend.as_array(backend.encode_templates(blobs[0])))
    assert arrays[0].shape == (2, *bundle.kernel_shape)
    np.testing.assert_allclose(arrays[1], arrays[0], atol=2e-3)


@on_cpu
def test_fp32_agrees_with_onnxruntime(bundle, blobs):
    with open_backend("onnxruntime", bundle) as reference, open_backend("torch", bundle) as torchs:
        expected, got = run(reference, *blobs), run(torchs, *blobs)
        assert torchs.info.precision == "fp32" and torchs.info.device == "cpu"
    assert got.score.shape == expected.score.shape == (2, 3, 32, 40)
    assert got.presence.shape == (2, 3) and got.box.shape == (2, 3, 4, 32, 40)
    np.testing.assert_allclose(got.score, expected.score, atol=2e-4)
    np.testing.assert_allclose(got.presence, expected.presence, atol=2e-4)
    np.testing.assert_allclose(got.box, expected.box, atol=0.05)
    present, absent = expected.presence
    assert present.min() > absent.max(), "it is there, and it is not"


@on_cpu
def test_half_precision_finds_the_same_at_the_same_place(bundle, blobs):
    """The CPU's own float16: not the GPU's kernels, but the same range and rounding."""
    with TorchBackend(load_network(bundle), DEVICE, "fp32") as full:
        expected = run(full, *blobs)
    with TorchBackend(load_network(bundle), DEVICE, "fp16") as half:
        got = run(half, *blobs)
        assert half.info.precision == "fp16"
    for part in (got.score, got.box, got.presence):
        assert part.dtype == np.float32 and np.isfinite(part).all()
    assert not np.array_equal(got.score, expected.score)  # it did round
    np.testing.assert_allclose(got.score, expected.score, atol=0.05)
    np.testing.assert_allclose(got.presence, expected.presence, atol=0.05)
    best = expected.score[0, 0].argmax()
    assert got.score[0, 0].argmax() == best
    there = [maps.box[0, 0].reshape(4, -1)[:, best] for maps in (got, expected)]
    np.testing.assert_allclose(*there, atol=0.5)


@on_cpu
def test_half_precision_keeps_boxes_exact_far_to_the_right(bundle, blobs):
    """float16 could only say every second pixel there."""
    templates, _ = blobs
    frames = np.zeros((1, 3, 32, 4096), np.float32)
    boxes = []
    for precision in ("fp32", "fp16"):
        with TorchBackend(load_network(bundle), DEVICE, precision) as backend:
            boxes.append(run(backend, templates[:1], frames).box[0, 0, :, 2, 508])
    assert boxes[0][0] > 3900
    np.testing.assert_allclose(boxes[1], boxes[0], atol=0.5)


@on_cpu
def test_half_precision_takes_features_whose_squares_it_has_no_room_for(bundle, blobs):
    """Cosines do not depend on how long the features are."""
    templates, frames = blobs
    with TorchBackend(load_network(bundle), DEVICE, "fp32") as full:
        expected = run(full, templates, frames)
    network = load_network(bundle)
    encode_frame = network.encode_frame
    network.encode_frame = lambda frame: encode_frame(frame) * 1000
    with torch.inference_mode():
        longest = network.encode_frame(torch.from_numpy(frames)).abs().max()
    assert 256 < longest < 65504  # float16 holds them, but not their squares
    with TorchBackend(network, DEVICE, "fp16") as half:
        got = run(half, templates, frames)
    np.testing.assert_allclose(got.score, expected.score, atol=0.05)


@on_cpu
def test_on_a_cpu_only_fp32_is_offered(bundle):
    assert TorchBackend.precision(BackendConfig()) == "fp32"
    with pytest.raises(BackendError, match="The torch backend runs in fp32, not in fp16"):
        open_backend("torch", bundle, BackendConfig(precision="fp16"))


def test_a_bundle_without_weights_is_refused(colour_bundle):
    with pytest.raises(BackendError, match="has no weights this torch backend can load"):
        open_backend("torch", load_bundle(colour_bundle))


@pytest.mark.parametrize(
    "raised, expected",
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "memory"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "m"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory"),
    ],
)
def test_no_memory_is_told_as_such(raised, expected):
    with pytest.raises(OutOfMemoryError, match=f"no {expected}") as told, device_errors("search"):
        raise raised
    assert str(raised).partition("\n")[0] in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress",
        "CUDA error: unspecified launch failure",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_failed_gpu_is_a_lost_device(text):
    with pytest.raises(DeviceLostError) as told, device_errors("search the frame"):
        raise RuntimeError(text)
    first_line = text.partition("\n")[0]
    assert str(told.value) == (
        f"The GPU failed and cannot search the frame: {first_line}; if it does not come back, "
        "restart this program."
    )


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), device_errors("x"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_errors_of_the_network_come_through_every_call(bundle, blobs, monkeypatch):
    backend = open_backend("torch", bundle)
    features = backend.encode_templates(blobs[0])

    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(backend._model, "encode_template", full)
    monkeypatch.setattr(backend._model, "encode_frame", full)
    with pytest.raises(OutOfMemoryError, match="encode the references"):
        backend.encode_templates(blobs[0])
    with pytest.raises(OutOfMemoryError, match="search the frame"):
        backend.infer(blobs[1], features)
    backend.close()
    backend.close()


def test_a_detector_runs_on_it(bundle):
    frame = np.full((192, 256, 3), 120, np.uint8)
    with Detector.open(backend="torch") as detector:
        detector.set_template([Reference(frame[:64, :64])], "x")
        assert set(detector.detect(frame).presence) == {"x"}


class Recorder:
    """Stands for CUDA's recordings, which need a GPU: notes what is recorded and replayed."""

    def __init__(self):
        self.recorded, self.replayed, self.fails = [], [], False

    def __call__(self, network, frames, kernels):
        if self.fails:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        shapes = tuple(frames.shape), tuple(kernels.shape)
        self.recorded.append(shapes)

        def replay(frames, kernels):
            self.replayed.append(shapes)
            assert (frames.shape, tuple(kernels.shape)) == shapes
            return network(torch.from_numpy(frames), kernels)

        return replay


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def replayed(recorder):
    def network(frames, kernels):
        return (frames.sum() * kernels.sum(),)

    return Replayed(network, torch.device("cpu"), recorder)


def look(replayed, width, views=1, value=1.0):
    frames = np.full((1, 1, 1, width), value, np.float32)
    return float(replayed(frames, torch.ones(views))[0])


def test_a_shape_is_recorded_at_its_second_look_and_replayed_from_then_on(recorder, replayed):
    assert [look(replayed, 3), look(replayed, 5)] == [3, 5] and not recorder.recorded
    assert look(replayed, 3, value=2.0) == 6
    assert recorder.recorded == recorder.replayed == [((1, 1, 1, 3), (1,))]
    assert look(replayed, 3, value=4.0) == 12 and len(recorder.replayed) == 2
    assert look(replayed, 3, views=2) == 6  # another number of views is another shape
    assert len(recorder.recorded) == 1
    replayed.clear()
    assert look(replayed, 3) == 3 and len(recorder.recorded) == 2


def test_only_the_recordings_used_last_are_kept(recorder, replayed):
    for width in range(1, MOST_RECORDINGS + 1):
        look(replayed, width), look(replayed, width)
    look(replayed, 1)
    for _ in range(2):
        look(replayed, 99)
    recorder.recorded.clear()
    look(replayed, 1)
    assert not recorder.recorded
    look(replayed, 2)  # the longest unused had to go
    assert recorder.recorded == [((1, 1, 1, 2), (1,))]


def test_if_recording_fails_the_network_runs_without(recorder, replayed, caplog):
    look(replayed, 3), look(replayed, 3)
    recorder.fails = True
    assert [look(replayed, 4) for _ in range(3)] == [4, 4, 4]
    assert [record.message for record in caplog.records] == [
        "The torch backend continues without CUDA graphs: CUDA error: operation not permitted when "
        "stream is capturing"
    ]
    recorder.fails = False
    recorder.replayed.clear()
    assert look(replayed, 3) == 3 and not recorder.replayed
