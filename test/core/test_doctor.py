from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import fake_engines
import pytest

from refdet_core import backends
from refdet_core.backends.base import BackendInfo
from refdet_core.backends.config import BackendConfig
from refdet_core.backends.engines.store import EngineStore
from refdet_core.bundle import BUNDLES_FOLDER, DEFAULT_BUNDLE, load_bundle, released_names
from refdet_core.doctor.check_process import CheckResult, run_check
from refdet_core.doctor.command import main
from refdet_core.doctor.machine import gpu_section, machine_section
from refdet_core.doctor.model import backend_section, bundle_section, engine_section
from refdet_core.doctor.packages import ASKED, package_section
from refdet_core.doctor.report import BROKEN, WARNING, Finding, Section, as_text, healthy
from refdet_core.doctor.ros_environment import ros_section

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "config" / "fastdds_shm.xml"
NUMPY_1 = CheckResult({"version": "1.23.5"})
ABSENT = CheckResult(error="No module named 'x'", missing=True)


def texts(section, level=None):
    return [item.what for item in section.findings if level in (None, item.level)]


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """A function that puts a package before the installed one of that name."""
    folder = tmp_path / "packages"
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def write(name, source):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(source)

    return write


# Questions: whatever a package does, there is an answer.


def test_an_installed_package_tells_its_version():
    import numpy

    assert run_check("numpy") == CheckResult({"version": numpy.__version__})


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise ImportError('libfoo.so.3: cannot open\\nshared object file')", "libfoo.so.3"),
        ("import os; os._exit(7)", "exit status 7"),
        ("import sys; print('{}'); sys.exit('no licence')", "no licence"),
        ("raise KeyError()", "KeyError"),
        ("pass", "__version__"),
    ],
    ids=["killed", "broken library", "silent exit", "exit with a text", "no message", "empty"],
)
def test_a_broken_package_is_an_answer_in_one_line(fake_package, source, error):
    fake_package("onnxruntime", source)
    result = run_check("onnxruntime")
    assert error in result.error and not result.missing and "\n" not in result.error


def test_a_package_that_talks_or_hangs(fake_package):
    fake_package(
        "onnxruntime",
        "print('welcome'); __version__ = '1'\ndef get_available_providers():\n    return []",
    )
    assert run_check("onnxruntime").facts == {"version": "1", "providers": []}
    fake_package("tensorrt", "import time; time.sleep(60)")
    assert "within 1 s" in run_check("tensorrt", timeout_s=1).error


def test_a_missing_package_is_told_from_one_whose_needs_are_missing(fake_package):
    fake_package(
        "onnxruntime",
        "raise ModuleNotFoundError(\"No module named 'onnxruntime'\", name='onnxruntime')",
    )
    assert run_check("onnxruntime").missing
    fake_package("tensorrt", "import surely_not_installed")
    result = run_check("tensorrt")
    assert "surely_not_installed" in result.error and not result.missing


# The whole command.


def test_json_says_what_the_exit_code_says(colour_bundle, capsys, monkeypatch):
    monkeypatch.chdir(colour_bundle.parent)
    code = main(["--json", "--bundle", colour_bundle.name])
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if report["ok"] else 1)
    facts = {item["title"]: item["facts"] for item in report["sections"]}
    assert facts["Packages"]["Python"].startswith("{}.{}.".format(*sys.version_info[:2]))
    assert facts["Backend"]["auto"].startswith("onnxruntime ")
    bundles = facts["Model bundles"]
    assert set(bundles) == {*released_names(), str(colour_bundle)}
    assert bundles["base"].startswith("refdet-base")
    assert "detector.onnx, template_encoder.onnx, weights.pt" in bundles["base"]
    assert bundles[str(colour_bundle)].startswith(f"colours test, {colour_bundle} (sha256")
    levels = [item["level"] for section in report["sections"] for item in section["findings"]]
    assert (BROKEN in levels) == (not report["ok"])


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A function that runs refdet with a Python that has no packages."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder)

    def run(*words):
        return subprocess.run(
            [str(folder / "bin/python"), "-m", "refdet_core", *words],
            cwd=str(ROOT),
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_other_commands_name_the_doctor_where_a_package_is_missing(bare_python):
    result = bare_python("live")
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("refdet: No module named") and "`refdet doctor`" in line


def test_a_python_without_any_package_gets_a_full_report(bare_python):
    result = bare_python("doctor")
    assert result.returncode == 1 and result.stderr == ""
    for sentence in (
        "!! NumPy is not installed; nothing works without it.",
        "!! OpenCV is not installed; nothing works without it.",
        "!! PyYAML is not installed; nothing works without it.",
        "!! ROS 2 is not found by this Python",
        "!! The backend auto does not open: No module named",
        "The node cannot run here",
    ):
        assert sentence in result.stdout
    assert "fix: pip install 'opencv-python-headless<5'" in result.stdout


# Findings.


def test_text_marks_what_is_wrong():
    sections = [
        Section("A", (("fact", "1"), ("longer", "2")), (Finding(WARNING, "slow.", "faster"),)),
        Section("B", (), (Finding(BROKEN, "gone.", "get it"),)),
    ]
    assert as_text(sections[:1], coloured=False).splitlines() == [
        "A",
        "   fact    1",
        "   longer  2",
        "!  slow.",
        "   fix: faster",
        "",
        "The node can run here; 1 warning (!).",
    ]
    text = as_text(sections, coloured=True)
    assert "\033[1;31m!! gone.\033[0m" in text and "cannot run here: see 1 × !!" in text
    assert healthy(sections[:1]) and not healthy(sections) and healthy([])
    assert as_text([], coloured=False) == "The node can run here; 0 warnings (!)."


def test_packages():
    results = {name: CheckResult({"version": "1"}) for name in ASKED}
    results["cv2"] = CheckResult(
        {"version": "4.5.4", "gui": "GTK2", "gstreamer": "1.16.2", "ffmpeg": ""}
    )
    results["onnxruntime"] = CheckResult(
        {"version": "1.19.2", "providers": ["CPUExecutionProvider"]}
    )
    results["torch"] = ABSENT
    section = package_section(results)
    facts = dict(section.facts)
    assert facts["  windows"] == "GTK2" and facts["  video files"] == "1.16.2"
    assert facts["torch"] == "not installed" and section.findings == ()
    results["tqdm"] = ABSENT
    results["torch"] = CheckResult(error="libcudart.so.11: no such file")
    section = package_section(results)
    assert dict(section.facts)["torch"] == "broken"
    assert texts(section, BROKEN) == []
    assert [text.split()[0] for text in texts(section, WARNING)] == ["tqdm", "torch"]


def copied_bundle(tmp_path):
    return Path(shutil.copytree(str(DEFAULT_BUNDLE), str(tmp_path / "bundle")))


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def released():
    """What is found of a released bundle."""
    return run_check("bundle", ["base"])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: damage(folder / "detector.onnx"), "detector.onnx of bundle"),
        (lambda folder: (folder / "weights.pt").unlink(), "weights.pt"),
        (lambda folder: (folder / "template_encoder.onnx").unlink(), "template_encoder.onnx"),
        (lambda folder: (folder / "bundle.yaml").write_text("format: 7"), "format 7"),
        (lambda folder: (folder / "bundle.yaml").write_bytes(b"\xff\xfe\0"), "YAML"),
        (shutil.rmtree, "is not a model bundle"),
    ],
    ids=["flipped bit", "no weights", "no graph", "other format", "no text", "no folder"],
)
def test_a_broken_bundle_is_named_with_the_fix(tmp_path, released, harm, words):
    folder = copied_bundle(tmp_path)
    harm(folder)
    section = bundle_section({"base": released, str(folder): run_check("bundle", [str(folder)])})
    assert dict(section.facts)["base"].startswith("refdet-base")
    (finding,) = section.findings
    assert finding.level == BROKEN and words in finding.what and str(folder) in finding.what


def test_a_backend_that_does_not_open_says_its_own_sentence():
    result = run_check("backend", ["openvino", ""])
    (finding,) = backend_section("openvino", result).findings
    assert finding.level == BROKEN and "valid are auto, onnxruntime" in finding.what
    (finding,) = backend_section("auto", run_check("backend", ["auto", "", "threads=-3"])).findings
    assert "threads must be at least 0" in finding.what


def test_the_networks_that_work_beside_the_one_that_searches_are_named_and_must_be_there(
    tmp_path, monkeypatch
):
    facts = run_check("backend", ["onnxruntime", str(BUNDLES_FOLDER / "small")]).facts
    assert facts["text"].endswith("refdet-small, lighttrack, fear, nanotrackv3, efficientnet_lite0")
    part = tmp_path / "refdet_core"
    ignored = shutil.ignore_patterns("fear", "__pycache__")
    shutil.copytree(str(BUNDLES_FOLDER.parent), str(part), ignore=ignored)
    monkeypatch.setattr("refdet_core.doctor.check_process._ROOT", tmp_path)
    result = run_check("backend", ["onnxruntime", str(part / "bundles" / "small")])
    assert "There is no bundle 'fear'" in result.error


def test_a_folder_of_engines_that_cannot_be_read(tmp_path):
    (tmp_path / "file").write_text("")
    section = engine_section(run_check("engines", ["", f"engine_folder={tmp_path / 'file'}"]))
    assert texts(section, WARNING) and str(tmp_path / "file") in texts(section)[0]
    section = engine_section(run_check("engines", ["", f"engine_folder={tmp_path / 'none'}"]))
    assert section.findings == () and dict(section.facts)["engines"] == "0"


def test_engines_are_listed_with_what_they_are_for(tmp_path):
    identity = {
        "bundle": "b",
        "graph": "detector",
        "precision": "fp16",
        "onnx_sha256": "0",
        "tensorrt": "8.5.2.2",
        "gpu": "Xavier",
        "compute_capability": "7.2",
    }
    store = EngineStore(tmp_path)
    paths = []
    for gpu in ("Xavier", "Orin", "Nano"):
        store.keep({**identity, "gpu": gpu}, b"engine " * 1000, {})
        paths.append(store.path({**identity, "gpu": gpu}))
    whole, cut, nameless = paths
    cut.write_bytes(b"engine")
    Path(f"{nameless}.json").write_text("{")
    section = engine_section(run_check("engines", ["", f"engine_folder={tmp_path}"]))
    facts = dict(section.facts)
    assert facts["engines"] == "3"
    # On a machine with that GPU the end of it would say that this is another model.
    assert facts[f"  {whole.name}"].startswith("0.0 MB, for ")
    assert "6 bytes instead of 7000" in facts[f"  {cut.name}"]
    assert "unusable, its JSON file" in facts[f"  {nameless.name}"]


def test_engines_that_are_not_built_yet_are_a_warning():
    (finding,) = backend_section(
        "auto", CheckResult({"opened": False, "text": "tensorrt"})
    ).findings
    assert finding.level == WARNING and "refdet engine build" in finding.fix


def test_the_backend_is_opened_only_with_the_engines_of_its_settings(
    colour_bundle, tmp_path, monkeypatch
):
    from refdet_core.backends.engines.cache import ready_engines
    from refdet_core.doctor.checks import backend

    trt = fake_engines.install(monkeypatch, tmp_path)
    sys.modules["refdet_core.backends.tensorrt_engine"].Engine = object
    opened = BackendInfo("tensorrt", "8.5", "Xavier", "fp16")
    monkeypatch.setattr(
        backends,
        "open_backend",
        lambda name, bundle, config: contextlib.nullcontext(SimpleNamespace(info=opened)),
    )

    def ask_here(*changes):
        sizes = [f"{name}={value}" for name, value in fake_engines.SMALL.items()]
        folder = f"engine_folder={tmp_path / 'engines'}"
        return backend("tensorrt", str(colour_bundle), folder, *sizes, *changes)

    assert not ask_here()["opened"]
    config = BackendConfig(engine_folder=str(tmp_path / "engines"), **fake_engines.SMALL)
    ready_engines(load_bundle(colour_bundle), config, "fp16")
    built = len(trt.builds)
    assert ask_here() == {"opened": True, "text": "tensorrt 8.5 on Xavier, fp16: colours"}
    for change in ("engine_max_tiles=1", "precision=fp32", "precision=int8"):
        assert not ask_here(change)["opened"]
    assert len(trt.builds) == built


# The machine.

XAVIER = {
    "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
    "etc/nv_tegra_release": "# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref\n",
    "proc/cpuinfo": "processor : 0\nmodel name : ARMv8 Processor rev 0 (v8l)\n",
    "proc/meminfo": "MemTotal:        6994504 kB\nMemAvailable:    4194304 kB\n",
    "sys/devices/system/cpu/online": "0-1\n",
    "sys/devices/system/cpu/present": "0-5\n",
}


def machine(tmp_path, files):
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.fixture
def power_mode(tmp_path, monkeypatch):
    """A function that makes nvpmodel answer a mode."""

    def result(mode):
        tool = tmp_path / "bin" / "nvpmodel"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\necho 'NV Power Mode: {mode}'; echo 8; echo noise >&2\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)

    return result


def test_a_jetson_with_cores_switched_off(tmp_path, power_mode):
    power_mode("MODE_10W_2CORE")
    section = machine_section(machine(tmp_path, XAVIER))
    facts = dict(section.facts)
    assert facts["Jetson"] == "NVIDIA Jetson Xavier NX Developer Kit" and facts["L4T"] == "35.3.1"
    assert facts["CPU"].startswith("ARMv8 Processor rev 0 (v8l), 2 of 6 cores online")
    assert facts["memory"] == "6.7 GB, 4.0 GB available"
    assert facts["power mode"] == "MODE_10W_2CORE"
    (finding,) = section.findings
    assert finding.level == WARNING and "nvpmodel -m 8" in finding.fix


def test_a_jetson_at_full_power_has_nothing_wrong(tmp_path, power_mode):
    power_mode("MODE_20W_6CORE")
    files = {**XAVIER, "sys/devices/system/cpu/online": "0-5\n"}
    assert machine_section(machine(tmp_path, files)).findings == ()


def test_a_machine_without_any_of_these_files(tmp_path):
    facts = dict(machine_section(tmp_path).facts)
    assert "Jetson" not in facts and facts["memory"] == "unknown"


def gpu(**changes):
    results = {
        "cuda": CheckResult(
            {
                "version": "11.4",
                "devices": [{"name": "Xavier", "compute_capability": "7.2", "memory_mb": 6830}],
            }
        ),
        "nvcc": CheckResult({"version": "11.4"}),
        "tensorrt": CheckResult({"version": "8.5.2.2"}),
        "pycuda": CheckResult({"version": "2022.1"}),
    }
    return {**results, **changes}


def test_a_gpu_with_all_its_software(tmp_path):
    section = gpu_section(gpu(), tmp_path)
    assert dict(section.facts)["GPU"] == "Xavier, compute capability 7.2, 6830 MB"
    assert section.findings == ()


@pytest.mark.parametrize(
    ("changes", "files", "words"),
    [
        ({"tensorrt": ABSENT}, {}, "no TensorRT"),
        ({"pycuda": ABSENT}, {}, "pycuda"),
        ({"nvcc": ABSENT}, {}, "nvcc is not found"),
        ({"pycuda": CheckResult(error="undefined symbol: cuFoo")}, {}, "undefined symbol: cuFoo"),
        ({"cuda": CheckResult(error="cuInit failed: CUDA_ERROR_NO_DEVICE (100)")}, {}, "NO_DEVICE"),
        (
            {"cuda": CheckResult(error="libcuda.so.1: cannot open shared object file")},
            XAVIER,
            "This is a Jetson",
        ),
    ],
    ids=[
        "no tensorrt",
        "no pycuda",
        "no nvcc",
        "broken pycuda",
        "no device",
        "container without driver",
    ],
)
def test_what_keeps_tensorrt_from_the_gpu(tmp_path, changes, files, words):
    section = gpu_section(gpu(**changes), machine(tmp_path, files))
    (finding,) = section.findings
    assert finding.level == WARNING and words in finding.what and finding.fix


def test_no_gpu_is_nothing_wrong(tmp_path):
    absent = CheckResult(error="libcuda.so.1: cannot open shared object file: No such file")
    section = gpu_section(
        {"cuda": absent, "nvcc": ABSENT, "tensorrt": ABSENT, "pycuda": ABSENT}, tmp_path
    )
    assert section.findings == () and dict(section.facts)["CUDA driver"] == "not installed"


# ROS.


def profile_of(section):
    return [text for text in texts(section) if "PROFILES_FILE" in text]


def test_the_shipped_profile_is_good():
    section = ros_section(NUMPY_1, {"FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE)})
    assert dict(section.facts)["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(PROFILE)
    assert profile_of(section) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "not valid XML"),
        ("<dds><profiles/></dds>", "no shared-memory segment_size"),
        ("<dds><segment_size>524288</segment_size></dds>", "524288 bytes"),
        ("<dds><segment_size>many</segment_size></dds>", "no shared-memory segment_size"),
    ],
)
def test_a_fast_dds_profile_that_does_not_help(tmp_path, content, words):
    path = tmp_path / "profile.xml"
    if content is not None:
        path.write_text(content)
    section = ros_section(NUMPY_1, {"FASTDDS_DEFAULT_PROFILES_FILE": str(path)})
    (text,) = profile_of(section)
    assert words in text and str(path) in text
    (fix,) = (item.fix for item in section.findings if item.what == text)
    assert fix.endswith("fastdds_shm.xml") and Path(fix.partition("=")[2]).is_file()


def test_without_a_profile_and_with_another_middleware():
    assert any("loses most large images" in text for text in texts(ros_section(NUMPY_1, {})))
    other = ros_section(NUMPY_1, {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})
    assert not any("Fast DDS" in text for text in texts(other))


@pytest.mark.parametrize(
    ("domain", "right"),
    [("0", True), ("232", True), ("", True), ("233", False), ("-1", False), ("drone", False)],
)
def test_the_domain_is_a_number_in_range(domain, right):
    broken = texts(ros_section(NUMPY_1, {"ROS_DOMAIN_ID": domain}), BROKEN)
    assert any("ROS_DOMAIN_ID" in text for text in broken) is not right


def test_a_middleware_that_is_not_installed(tmp_path):
    index = tmp_path / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    environment = {
        "ROS_DISTRO": "humble",
        "AMENT_PREFIX_PATH": f"/nowhere:{tmp_path}",
        "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp",
    }
    findings = [
        item
        for item in ros_section(NUMPY_1, environment).findings
        if "RMW_IMPLEMENTATION" in item.what
    ]
    assert [item.level for item in findings] == [BROKEN]
    assert "apt install ros-humble-rmw-cyclonedds-cpp" in findings[0].fix
    (index / "rmw_cyclonedds_cpp").touch()
    assert not any("RMW_IMPL" in text for text in texts(ros_section(NUMPY_1, environment)))


def test_packages_of_ros_are_found_without_importing_them(tmp_path, monkeypatch):
    for name in ("rclpy", "vision_msgs", "cv_bridge", "refdet_msgs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    section = ros_section(CheckResult({"version": "2.1.0"}), {"ROS_DISTRO": "jazzy"})
    assert texts(section, BROKEN) == []
    assert any("cv_bridge is built for NumPy 1" in text for text in texts(section, WARNING))
    assert not any("cv_bridge" in text for text in texts(ros_section(NUMPY_1, {})))


def test_too_little_shared_memory(tmp_path):
    little = os.statvfs(str(tmp_path))
    free_mb = little.f_bavail * little.f_frsize >> 20
    enough = ros_section(NUMPY_1, {}, shared_memory=tmp_path)
    assert any("shared memory of several" in text for text in texts(enough)) is (free_mb < 128)
    assert not any(
        "shared memory of several" in t for t in texts(ros_section(NUMPY_1, {}, tmp_path / "none"))
    )
    assert any(
        "shared memory of several" in t for t in texts(ros_section(NUMPY_1, {}, Path("/proc")))
    )
