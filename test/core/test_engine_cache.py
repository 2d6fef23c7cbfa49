from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_engines
import numpy as np
import pytest

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.errors import BackendError, ConfigError, EngineRefusedError


@pytest.fixture
def trt(monkeypatch, tmp_path):
    return fake_engines.install(monkeypatch, tmp_path)


@pytest.fixture
def bundle(colour_bundle):
    return load_bundle(colour_bundle)


@pytest.fixture
def ready(trt, bundle, tmp_path):
    """ready_engines with a folder of its own; keywords are settings, but for its own two."""

    def call(precision="fp16", rebuild_because="", must_keep=False, **settings):
        from refdet_core.backends.engines.cache import ready_engines

        chosen = {"engine_folder": str(tmp_path / "engines"), **fake_engines.SMALL, **settings}
        config = BackendConfig(**chosen)
        return ready_engines(bundle, config, precision, rebuild_because, must_keep)

    return call


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "engines"


@pytest.fixture(scope="module")
def built_before(colour_bundle, tmp_path_factory):
    """A folder with both engines, as fp16."""
    folder = tmp_path_factory.mktemp("built") / "engines"
    with pytest.MonkeyPatch.context() as patch:
        fake_engines.install(patch, folder.parent)
        from refdet_core.backends.engines.cache import ready_engines

        config = BackendConfig(engine_folder=str(folder), **fake_engines.SMALL)
        ready_engines(load_bundle(colour_bundle), config, "fp16")
    return folder


@pytest.fixture
def built(built_before, folder):
    """The folder, with both engines in it."""
    shutil.copytree(built_before, folder)
    return folder


def detector_file(folder: Path) -> Path:
    (path,) = folder.glob("colours-detector-fp16-*.engine")
    return path


def lines(caplog, word: str) -> list[str]:
    return [text for text in caplog.messages if word in text]


class TestKeepsEngines:
    def test_builds_both_once_and_finds_them_again(self, ready, trt, folder):
        first = ready()
        assert len(trt.builds) == 2
        again = ready()
        assert len(trt.builds) == 2
        assert again == first
        assert {path.name.rsplit("-", 1)[0] for path in folder.glob("*.engine")} == {
            "colours-template_encoder-fp16",
            "colours-detector-fp16",
        }
        assert not list(folder.glob("*.unfinished"))

    def test_the_sidecar_says_what_the_engine_is(self, built):
        path = detector_file(built)
        sidecar = json.loads(path.with_name(path.name + ".json").read_text())
        assert sidecar["size"] == path.stat().st_size
        assert len(sidecar["sha256"]) == 64
        identity = sidecar["identity"]
        assert identity["tensorrt"] == "8.5.3.1"
        assert identity["precision"] == "fp16"
        assert identity["compute_capability"] == "7.2"
        assert [profile["name"] for profile in identity["profiles"]] == ["window", "frame"]
        assert identity["dla"] == -1
        assert sidecar["differences"]["score"]["largest"] == 0
        assert {"Exp", "ReduceSum"} <= {item["op"] for item in sidecar["kept_operators"]}
        assert sidecar["kept_layers"]

    @pytest.mark.parametrize(
        "change",
        [
            {"engine_max_tiles": 2},
            {"engine_max_views": 5},
            {"engine_max_width": 104},
            {"engine_workspace_mb": 64},
            {"precision": "fp32"},
        ],
    )
    def test_other_settings_are_another_engine(self, ready, trt, built, change):
        before = {path.name for path in built.glob("*.engine")}
        ready(**change)
        assert trt.builds
        count = len(trt.builds)
        assert before < {path.name for path in built.glob("*.engine")}
        ready()
        ready(**change)
        assert len(trt.builds) == count

    def test_a_changed_graph_is_another_engine(self, ready, trt, built, monkeypatch):
        monkeypatch.setattr(
            "refdet_core.backends.engines.cache.file_sha256", lambda path: path.name
        )
        ready()
        assert len(trt.builds) == 2

    def test_timings_of_one_build_make_the_next_shorter(self, ready, trt):
        ready()
        assert [build.timings for build in trt.builds] == [b"", b"timings of 8.5.3.1"]

    def test_timings_that_cannot_be_read_are_begun_anew(self, ready, trt, built, monkeypatch):
        fake_engines.unreadable(monkeypatch, ".cache")
        ready(rebuild_because="of a test")
        assert [build.timings for build in trt.builds] == [b"", b""]

    def test_timings_that_tensorrt_does_not_take_are_begun_anew(self, ready, trt, built, caplog):
        caplog.set_level(logging.INFO)
        (timings,) = built.glob("timings-*.cache")
        timings.write_bytes(b"garbage")
        ready(rebuild_because="of a test")
        assert trt.builds[0].timings == b""
        assert lines(caplog, "refuses the stored timings")
        assert timings.read_bytes() == b"timings of 8.5.3.1"

    def test_the_default_folder_is_in_the_users_cache(self, monkeypatch, tmp_path):
        from refdet_core.backends.engines.cache import engine_folder

        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert engine_folder(BackendConfig()) == tmp_path / "refdet" / "engines"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert engine_folder(BackendConfig()) == tmp_path / ".cache" / "refdet" / "engines"


class TestRebuildsWithTheReason:
    def told(self, caplog) -> str:
        (line,) = lines(caplog, "engine of the detector is built now")
        return line

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda path: path.write_bytes(path.read_bytes()[:100]), "has 100 bytes instead of"),
            (lambda path: path.write_bytes(b"\0" * path.stat().st_size), "checksum"),
            (lambda path: path.write_bytes(b""), "has 0 bytes instead of"),
            (lambda path: path.unlink(), "there is none yet"),
        ],
    )
    def test_damaged_engine(self, ready, trt, built, caplog, damage, reason):
        whole = detector_file(built).read_bytes()
        damage(detector_file(built))
        caplog.set_level(logging.INFO)
        assert ready().detector == whole
        assert len(trt.builds) == 1  # the template encoder was left alone
        assert reason in self.told(caplog)
        assert detector_file(built).read_bytes() == whole

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"size": 3}', "\x00\xff"])
    def test_damaged_sidecar(self, ready, trt, built, caplog, text):
        path = detector_file(built)
        path.with_name(path.name + ".json").write_text(text)
        caplog.set_level(logging.INFO)
        ready()
        assert len(trt.builds) == 1
        assert "cannot be read" in self.told(caplog)

    def test_after_an_update_of_tensorrt(self, ready, trt, built, caplog, monkeypatch, tmp_path):
        caplog.set_level(logging.INFO)
        newer = fake_engines.install(monkeypatch, tmp_path, "8.6.1")
        ready()
        assert len(newer.builds) == 2
        assert "tensorrt was 8.5.3.1, is 8.6.1" in self.told(caplog)

    def test_engines_of_another_machine(self, ready, trt, built, caplog, monkeypatch):
        caplog.set_level(logging.INFO)
        from refdet_core.backends.engines.target import Target

        other = Target("8.5.3.1", "Orin", "8.7")
        monkeypatch.setattr("refdet_core.backends.engines.cache.this_target", lambda: other)
        ready()
        assert "is 8.7" in self.told(caplog)
        assert "is Orin" in self.told(caplog)

    def test_a_foreign_engine_under_our_name(self, ready, trt, built, caplog):
        path = detector_file(built)
        sidecar_path = path.with_name(path.name + ".json")
        sidecar = json.loads(sidecar_path.read_text())
        sidecar["identity"]["gpu"] = "Orin"
        sidecar_path.write_text(json.dumps(sidecar))
        caplog.set_level(logging.INFO)
        ready()
        assert len(trt.builds) == 1
        assert "not what its name says: gpu was Orin" in self.told(caplog)

    def test_when_asked_to(self, ready, trt, built, caplog):
        caplog.set_level(logging.INFO)
        ready(rebuild_because="--force was given")
        assert len(trt.builds) == 2
        assert "--force was given" in self.told(caplog)


class TestFoldersThatTakeNoFiles:
    def below_a_file(self, tmp_path) -> str:
        (tmp_path / "file").write_text("")
        return str(tmp_path / "file" / "engines")

    def test_serves_for_this_run(self, ready, trt, tmp_path, caplog):
        engines = ready(engine_folder=self.below_a_file(tmp_path))
        assert engines.detector
        assert len(trt.builds) == 2
        (warning,) = lines(caplog, "for this run only")
        assert "Choose another engine_folder" in warning

    def test_is_an_error_before_building_if_it_has_to_be_kept(self, ready, trt, tmp_path):
        with pytest.raises(BackendError, match=r"cannot be kept in .*Not a directory"):
            ready(engine_folder=self.below_a_file(tmp_path), must_keep=True)
        assert not trt.builds

    def full_disk(self, monkeypatch):
        """Every file may be opened; writing an engine's content fails half-way."""
        import refdet_core.backends.engines.store as store

        def fsync(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(store.os, "fsync", fsync)

    def test_a_full_disk_leaves_no_half_file(self, ready, trt, folder, monkeypatch, caplog):
        self.full_disk(monkeypatch)
        assert ready().detector
        assert [path.name for path in folder.iterdir()] == ["engines.lock"]
        assert len(lines(caplog, "It serves for this run only")) == 2
        assert len(lines(caplog, "TensorRT's timings cannot be stored")) == 2

    def test_a_full_disk_is_an_error_if_it_has_to_be_kept(self, ready, folder, monkeypatch):
        self.full_disk(monkeypatch)
        with pytest.raises(BackendError, match=r"MB cannot be kept .* No space left on device"):
            ready(must_keep=True)
        assert [path.name for path in folder.iterdir()] == ["engines.lock"]

    def test_a_full_disk_keeps_the_engine_that_was_there(self, ready, built, monkeypatch):
        before = detector_file(built).read_bytes()
        self.full_disk(monkeypatch)
        ready(rebuild_because="of a test")
        assert detector_file(built).read_bytes() == before

    def test_an_interrupted_build_leaves_no_file(self, ready, trt, folder):
        def interrupt():
            raise KeyboardInterrupt

        trt.during_build = interrupt
        with pytest.raises(KeyboardInterrupt):
            ready()
        assert [path.name for path in folder.iterdir()] == ["engines.lock"]
        trt.during_build = lambda: None
        assert ready().detector

    def test_what_a_killed_process_left_may_stay_where_it_cannot_be_removed(
        self, ready, trt, folder
    ):
        (folder / "some.engine.123.unfinished").mkdir(parents=True)  # unlink refuses a folder
        assert ready(must_keep=True).detector
        assert len(trt.builds) == 2


class TestEnginesThere:
    @pytest.fixture
    def there(self, trt, bundle, folder):
        def call(precision="fp16", **settings):
            from refdet_core.backends.engines.cache import engines_there

            chosen = {"engine_folder": str(folder), **fake_engines.SMALL, **settings}
            return engines_there(bundle, BackendConfig(**chosen), precision)

        return call

    def test_where_there_is_no_folder(self, there, folder):
        assert not there()
        assert not folder.exists()

    def test_says_what_is_built(self, there, trt, built):
        assert there()
        assert not there("fp32")
        assert not there(engine_max_tiles=1)
        assert not there("int8")
        assert there()
        detector_file(built).write_bytes(b"")
        assert not there()
        assert not trt.builds


class TestTwoProcesses:
    def start(self, bundle, folder, mark) -> subprocess.Popen:
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), str(root / "test")])
        command = (sys.executable, root / "test" / "fake_engines.py", bundle.folder, folder)
        return subprocess.Popen(
            [*map(str, command), str(mark)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, mark: Path) -> None:
        end = time.monotonic() + 60
        while not mark.exists():
            assert time.monotonic() < end, "the other process does not build"
            time.sleep(0.02)

    def test_build_once(self, bundle, folder, tmp_path):
        slow = self.start(bundle, folder, tmp_path / "slow")
        self.wait_for(tmp_path / "slow")
        other = self.start(bundle, folder, tmp_path / "other")
        assert any("Another process builds engines" in line for line in other.stdout)
        (tmp_path / "slow").unlink()
        texts = [process.communicate(timeout=100)[0] for process in (slow, other)]
        assert "builds 2" in texts[0]
        assert "builds 0" in texts[1]

    def test_a_killed_builder_leaves_lock_and_folder_to_the_next(
        self, ready, trt, bundle, folder, tmp_path
    ):
        killed = self.start(bundle, folder, tmp_path / "mark")
        self.wait_for(tmp_path / "mark")
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        (folder / "some.engine.123.unfinished").write_bytes(b"half")
        assert ready().detector
        assert len(trt.builds) == 2
        assert not list(folder.glob("*.unfinished"))


class TestRefusals:
    def test_an_engine_that_disagrees_is_not_kept(self, ready, trt, folder):
        trt.spoil = {"score": 0.1}
        with pytest.raises(BackendError) as error:
            ready()
        text = str(error.value)
        assert "score differs by 0.1 (at most 0.02 is allowed), by 0.1 on average" in text
        assert "presence" not in text
        assert "Use precision fp32" in text
        assert not list(folder.glob("colours-detector*"))

    def test_what_is_refused_is_told_from_other_errors_and_leaves_its_timings(
        self, ready, trt, folder
    ):
        trt.spoil = {"kernel": 0.5}
        for _ in range(2):
            with pytest.raises(EngineRefusedError):
                ready()
        assert [build.timings for build in trt.builds] == [b"", b"timings of 8.5.3.1"]
        assert not list(folder.glob("*.engine*"))

    def test_an_engine_that_returns_no_numbers_is_not_kept(self, ready, trt, folder):
        trt.spoil = {"box": float("nan")}
        with pytest.raises(BackendError, match=r"box differs by nan"):
            ready()
        assert not list(folder.glob("colours-detector*"))

    def test_kernels_are_compared_too(self, ready, trt, folder):
        trt.spoil = {"kernel": 0.5}
        with pytest.raises(BackendError, match=r"template_encoder disagrees .*: kernel differs"):
            ready()

    def test_no_gpu(self, ready, trt):
        trt.has_gpu = False
        with pytest.raises(
            BackendError, match=r"CUDA initialization failure .* needs an NVIDIA GPU"
        ):
            ready()

    def test_no_tensorrt(self, ready, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(BackendError, match=r"needs the Python package tensorrt .*JetPack"):
            ready()

    @pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
    def test_building_without_a_package_names_it(self, ready, trt, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(BackendError, match=f"pip install {package}$"):
            ready()
        assert not trt.builds

    def test_engines_that_are_there_need_no_package(self, ready, trt, built, monkeypatch):
        for package in ("onnx", "onnxruntime"):
            monkeypatch.setitem(sys.modules, package, None)
        assert ready().detector == detector_file(built).read_bytes()
        assert not trt.builds

    def test_fp32_on_a_dla(self, ready, trt):
        with pytest.raises(BackendError, match=r"fp16 or int8, not in fp32"):
            ready("fp32", engine_dla=0)

    def test_sizes_that_no_frame_has(self):
        with pytest.raises(ConfigError, match=r"engine_max_width must be at least 64"):
            BackendConfig(engine_max_width=10)


def test_engines_compute_what_the_graphs_say(ready, bundle):
    import onnxruntime
    from fake_tensorrt import run_plan

    engines = ready()
    random = np.random.default_rng(0)
    image = random.uniform(0, 255, (2, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(bundle.template_graph))
    (expected,) = session.run(["kernel"], {"image": image})
    np.testing.assert_array_equal(
        run_plan(engines.template_encoder, {"image": image})["kernel"], expected
    )


def test_a_network_that_compares_is_never_int8(trt, tmp_path):
    from refdet_core.backends.engines.cache import engines_there, ready_engines

    released = load_bundle(Path("efficientnet_lite0"))
    config = BackendConfig(engine_folder=str(tmp_path / "engines"), **fake_engines.SMALL)
    engines = ready_engines(released, config, "int8")  # without frames to calibrate on
    assert [each["identity"]["precision"] for each in engines.sidecars] == ["fp16", "fp16"]
    assert engines_there(released, config, "int8") and engines_there(released, config, "fp16")
