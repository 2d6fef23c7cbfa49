from __future__ import annotations

import argparse
import logging
from pathlib import Path

import fake_engines
import pytest

from refdet_core.backends.engines.command import add_engine_arguments, engine
from refdet_core.errors import BackendError


@pytest.fixture
def run(monkeypatch, tmp_path, colour_bundle):
    """`refdet engine build` for the toy model; returns the fake TensorRT."""
    log = logging.getLogger("refdet_core")
    monkeypatch.setattr(log, "handlers", list(log.handlers))
    monkeypatch.setattr(log, "level", log.level)

    def call(*words: str, folder: Path = tmp_path / "engines"):
        trt = fake_engines.install(monkeypatch, tmp_path)
        parser = argparse.ArgumentParser()
        add_engine_arguments(parser)
        sizes = [f"--{name[7:].replace('_', '-')}={value}" for name, value in SETTINGS]
        own = [f"--bundle={colour_bundle}", f"--engine-folder={folder}", *sizes]
        assert engine(parser.parse_args(["build", *own, *words])) == 0
        return trt

    return call


SETTINGS = tuple(fake_engines.SMALL.items())


def test_builds_and_says_what_is_where(run, tmp_path, capsys):
    run()
    out, err = capsys.readouterr()
    assert "template_encoder  fp16, " in out
    assert "TensorRT 8.5.3.1 on " in out
    assert f"{tmp_path / 'engines'} (2 engines, " in out
    assert "refdet: The fp16 engine of the detector is built now: there is none yet." in err


def test_what_is_there_is_left_unless_forced(run):
    assert len(run().builds) == 2
    assert len(run().builds) == 0
    assert len(run("--force").builds) == 2


def test_settings_reach_tensorrt(run):
    trt = run("--precision=fp32", "--workspace-mb=77", "--max-tiles=2", "--max-views=4")
    detector = trt.builds[1]
    assert detector.flags == set()
    assert detector.workspace == 77 << 20
    assert detector.profiles[1]["frame"][2] == (2, 3, 64, 96)
    assert detector.profiles[1]["kernel"][2] == (4, 3, 1, 1)


def test_a_dla_without_a_number_is_the_first(run):
    with pytest.raises(BackendError, match=r"0 deep learning accelerators .* engine_dla is 0"):
        run("--dla")


def test_an_engine_that_cannot_be_kept_is_an_error(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="cannot be kept"):
        run(folder=tmp_path / "file" / "engines")


def test_int8_needs_frames(run):
    with pytest.raises(BackendError, match="--calibration DIR"):
        run("--precision=int8")
