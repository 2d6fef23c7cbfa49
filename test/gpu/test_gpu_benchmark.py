"""benchmarks.gpu without a GPU: the dry run, and every step on doubles of CUDA and TensorRT (or on
the CPU) with the toy model."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fake_cuda
import fake_tensorrt
import fake_tensorrt_runtime
import pytest

pytest.importorskip("onnx", reason="engines are made of graphs")

from benchmarks.gpu import (
    crop_kernel,
    detections,
    engine_trials,
    engines,
    jetson_roofline,
    pack,
    rtx_targets,
    unpack,
)
from benchmarks.gpu import footage as footage_module
from benchmarks.gpu.__main__ import main as gpu_benchmark
from benchmarks.gpu.footage import read_footage, write_footage
from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section
from refdet_core.imaging import Crop

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(colour_bundle, tmp_path, monkeypatch):
    """Settings that take as little time as a step can."""
    monkeypatch.setattr(footage_module, "_DRAWN_SIZE", (192, 128))
    monkeypatch.setattr(engine_trials, "SWAPS", 20)
    monkeypatch.setattr(engines, "PRECISIONS", ("fp32",))
    monkeypatch.setattr(detections, "PRECISIONS", ("fp32",))
    small = engines.config_for

    def config_for(*given):
        return replace(
            small(*given), engine_max_width=192, engine_max_height=128, engine_max_views=3
        )

    monkeypatch.setattr(engines, "config_for", config_for)
    monkeypatch.setattr(detections, "config_for", config_for)
    return Settings(tmp_path / "footage", tmp_path / "work", 1e6, 1, (str(colour_bundle),), (1, 2))


@pytest.fixture
def gpu(tmp_path):
    """A fake GPU with a fake TensorRT-RTX, through cuda-bindings."""
    folder = tmp_path / "cuda"
    folder.mkdir()
    cuda = fake_cuda.FakeCuda(folder, capacity=256 << 20)
    runtime = fake_tensorrt_runtime.FakeTensorRT(cuda, "rtx")
    builder = fake_tensorrt.FakeTensorRT("1.7.1.116").module()
    with fake_cuda.installed(cuda, runtime.module(builder), "cuda-bindings"):
        yield cuda


def column(section: Section, name: str) -> list:
    return [row[list(section.head).index(name)] for row in section.rows]


def test_engines_and_trials(settings, gpu):
    built, speed = engines.measure(settings)
    (trials,) = engine_trials.measure(settings)
    assert built.notes == [] and column(built, "precision") == ["fp32"]
    assert float(column(built, "score")[0]) < 1e-3
    assert {row[2] for row in speed.rows} == {"tile", "two tiles", "window"}
    failed = [row for row in trials.rows if row[1] != "yes"]
    assert failed == [] and len(trials.rows) == len(engine_trials.TRIALS)


def test_targets_of_rtx(settings, gpu):
    (section,) = rtx_targets.measure(settings)
    assert column(section, "for") == ["its usual targets", "SM75", "CURRENT"]
    assert all("MB" in text for text in column(section, "built"))


def test_crops(settings, gpu, monkeypatch):
    def few(frame_bgr):
        return {"windows": [Crop(-20, 30, 90, 90, 64, 64), Crop(50, 50, 200, 150, 64, 64)]}

    monkeypatch.setattr(crop_kernel, "crops_of", few)
    monkeypatch.setattr(crop_kernel, "_CUTS", 2)
    monkeypatch.setattr(crop_kernel, "find_nvcc", lambda: None)  # it is slow
    crops, nvcc = crop_kernel.measure(settings)
    assert set(column(crops, "at most 1")) == {"yes"}
    assert "Xavier" in crops.title and "cuda-bindings" in crops.title
    assert "no nvcc" in nvcc.notes[0]


def test_detections(settings, gpu, monkeypatch):
    def without_torch(given):
        return [("tensorrt", "fp32", detections.config_for(given, "fp32"))]

    monkeypatch.setattr(detections, "_cases", without_torch)
    (section,) = detections.measure(settings)
    assert column(section, "backend")[:2] == ["onnxruntime fp32", "tensorrt fp32"]
    assert column(section, "largest")[1] < 0.01
    assert column(section, "mean IoU with onnxruntime")[1] > 0.99


def test_an_engine_that_fails_leaves_its_reason(settings, gpu, monkeypatch):
    def broken(*given):
        raise RuntimeError("no luck")

    monkeypatch.setattr(engines, "built", broken)
    section = engines.measure(settings)[0]
    assert not section.rows and "RuntimeError: no luck" in section.notes[0]


def test_nothing_is_begun_after_the_time(settings, gpu):
    section = engines.measure(replace(settings, budget_s=0.0))[0]
    assert not section.rows and "no time left" in section.notes[0]
    (trials,) = engine_trials.measure(replace(settings, budget_s=0.0))
    assert {row[1] for row in trials.rows} == {"–"}


@pytest.mark.slow
def test_torch_on_the_cpu(monkeypatch):
    pytest.importorskip("timm", reason="the torch backend builds its network with it")
    from benchmarks.gpu import torch_cuda

    if torch_cuda.on_gpu():
        pytest.skip("there is a GPU: make check-gpu")
    monkeypatch.setattr(footage_module, "_DRAWN_SIZE", (320, 240))
    monkeypatch.setattr(torch_cuda, "_PARITY_FRAMES", 1)
    settings = Settings(
        Path("nowhere"), budget_s=0.0, rounds=1, bundles=("small",), template_counts=(1, 2)
    )
    parity, templates, tricks = torch_cuda.measure(settings)
    assert {row[1] for row in parity.rows} == {"fp32"}
    assert max(float(cell) for row in parity.rows for cell in row[3:]) < 1e-2
    assert column(templates, "templates") == [1, 2]
    assert len(tricks.rows) == 4 and all(row[3] > 0 for row in tricks.rows)


def test_the_roofline_counts_what_the_boards_can_do(settings):
    cost, limits = jetson_roofline.measure(settings)
    assert len(limits.rows) == len(jetson_roofline.BOARDS)
    for row in limits.rows:
        assert 0 < row[3] <= row[4] <= row[5]
    assert column(limits, "fp16 limit") == sorted(column(limits, "fp16 limit"))
    assert column(cost, "MB moved in fp32")[0] > 0


def test_footage_is_stored_and_read(tmp_path):
    data = ROOT.parent / "shared" / "data"
    if not (data / "splits.json").is_file():
        pytest.skip("no annotated videos here")
    footage = write_footage(tmp_path, data, tmp_path)
    assert read_footage(tmp_path).source == footage.source
    for target in footage.targets:
        assert len(target.references) == footage_module.REFERENCES
        absent = [shot for shot in target.shots if shot.box_xyxy is None]
        assert len(absent) == footage_module.ABSENT and len(target.shots) > len(absent)


class TestPieces:
    @pytest.fixture
    def pieces(self, tmp_path):
        (tmp_path / "parts" / "footage").mkdir(parents=True)
        (tmp_path / "parts" / "footage" / "frame").write_bytes(bytes(range(256)) * 400)
        sizes = pack.pack(tmp_path / "pieces", tmp_path / "parts", 40_000)
        assert len(sizes) > 1 and max(sizes.values()) <= 40_000
        return tmp_path / "pieces"

    def test_there_and_back(self, pieces, tmp_path):
        command = [sys.executable, str(pieces / "unpack.py"), str(pieces), str(tmp_path / "there")]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "benchmarks.gpu --footage" in answer.stdout
        content = (tmp_path / "there" / "footage" / "frame").read_bytes()
        assert content == bytes(range(256)) * 400

    def test_missing_and_damaged_ones_are_named(self, pieces, tmp_path):
        (pieces / "piece-00").unlink()
        (pieces / "piece-01").write_bytes(b"x")
        with pytest.raises(ValueError, match="piece-00 is missing; piece-01 is damaged"):
            unpack.unpack(pieces, tmp_path / "there")
        assert not (tmp_path / "there").exists()


def test_the_packed_code_is_whole(tmp_path):
    pack.copy_code(tmp_path)
    assert (tmp_path / "benchmarks" / "gpu" / "__main__.py").is_file()
    assert (tmp_path / "refdet_core" / "bundles" / "base" / "detector.onnx").is_file()


def test_the_dry_run(tmp_path, monkeypatch):
    # Not as a process, which would import torch again.
    command = ["--dry-run", "--output", tmp_path, "--footage", tmp_path, "--bundles", "small"]
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", *map(str, command)])
    gpu_benchmark()
    sections = json.loads((tmp_path / "results.json").read_text())["sections"]
    table = (tmp_path / "table.md").read_text()
    here = {row[0]: row[1] for row in sections["here"]["rows"]}
    assert here["onnxruntime"] == here["bundle refdet-small"] == here["footage"] == "yes"
    assert "Xavier NX" in table
    import torch

    if not torch.cuda.is_available():
        assert "PyTorch sees no CUDA GPU" in sections["torch"]["notes"][0]
        assert any("Not measured" in note for note in sections["detections"]["notes"])
