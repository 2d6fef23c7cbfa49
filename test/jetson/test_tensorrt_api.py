"""What refdet asks of TensorRT, and what its double in the tests offers, against the real one.

The module can be imported where there is no GPU; `make check-jetson` brings it.
"""

from __future__ import annotations

import ast
import collections
import ctypes
import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jetson.api_description import describe
from jetson.api_uses import MODULE, find_uses_in
from jetson.tensorrt_versions import (
    GONE_IN_10,
    NEW_ARGUMENTS_IN_10,
    NEW_IN_8_5,
    NEW_IN_10,
    ONLY_IN_RTX,
)

from refdet_core.errors import BackendError

tensorrt = pytest.importorskip("tensorrt", reason="no tensorrt here (make check-jetson)")
pytestmark = pytest.mark.skipif(
    not getattr(tensorrt, "__version__", "").startswith("8.5."),
    reason="the tables are about TensorRT 8.5 (make check-jetson)",
)

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ROOT / "refdet_core" / "backends"
NAMES_OF_THE_MODULE = {"trt", "tensorrt", "import_tensorrt"}
# Objects whose class no annotation tells, as TensorRT has no type information.
USUAL_NAMES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "layer": "ILayer",
    "tensor": "ITensor",
    "runtime": "Runtime",
}
# The two vocabularies of a runtime, each in a class of its own.
WORDS_OF_8_5 = "EngineWithNames"
WORDS_OF_8_4 = "EngineWithNumbers"
NOT_CALLED_BY_TENSORRT = {"get_algorithm"}  # the class answers it


@pytest.fixture(scope="module")
def api():
    return describe(tensorrt)


@pytest.fixture(scope="module")
def files(api):
    """Uses by file name, of all files that use TensorRT."""
    found = {
        path.name: find_uses_in(path, api, NAMES_OF_THE_MODULE, USUAL_NAMES)
        for path in sorted(BACKENDS.rglob("*.py"))
    }
    # Elsewhere a "tensor" is ONNX's.
    return {
        name: uses for name, uses in found.items() if any(item.owner == MODULE for item in uses.api)
    }


def test_the_check_is_not_blind(files):
    names = {item.qualified for uses in files.values() for item in uses.api}
    assert {
        "Builder.build_serialized_network",
        "BuilderFlag.FP16",
        "IBuilderConfig.set_memory_pool_limit",
        "IExecutionContext.execute_async_v2",
        "IExecutionContext.execute_async_v3",
        "ILayer.precision",
        "OnnxParser.get_error",
        "ParserError.desc",
        "Runtime.deserialize_cuda_engine",
    } <= names
    assert len(names) > 60


def test_every_name_is_in_tensorrt_8_5_or_known_to_be_newer(files):
    wrong = [
        str(item)
        for uses in files.values()
        for item in uses.api
        if item.problem
        and item.qualified not in NEW_IN_10
        and item.qualified not in NEW_ARGUMENTS_IN_10
        and item.qualified not in ONLY_IN_RTX
    ]
    assert wrong == []


def test_names_that_are_not_in_all_versions_stay_where_their_version_is_known(files):
    """Elsewhere only what 8.4, 8.5 and 10 share."""
    wrong = []
    for uses in files.values():
        for item in uses.api:
            parts = set(item.qualified.split("."))
            if item.qualified in NEW_IN_8_5 and item.within != WORDS_OF_8_5:
                wrong.append(f"{item}: not in 8.4")
            if item.qualified in GONE_IN_10 and item.within != WORDS_OF_8_4:
                wrong.append(f"{item}: not in 10")
            if item.qualified in NEW_IN_10 and not parts & uses.guards:
                wrong.append(f"{item}: only in {NEW_IN_10[item.qualified]}, use hasattr")
    assert wrong == []


def test_the_tables_are_about_names_that_matter(api, files):
    real = {
        *api.module,
        *(f"{owner}.{name}" for owner in api.classes for name in api.classes[owner]),
    }
    assert [name for name in NEW_IN_10 if name in real] == []
    assert sorted((NEW_IN_8_5 | GONE_IN_10) - real) == []
    used = {item.qualified for uses in files.values() for item in uses.api}
    assert sorted({*NEW_IN_10, *NEW_ARGUMENTS_IN_10} - used) == []


def test_attributes_of_untyped_objects_are_known_from_elsewhere(files):
    """A misspelt name on an object whose class is not known is in no vocabulary."""
    known = _own_vocabulary() | {name.rpartition(".")[2] for name in ONLY_IN_RTX}
    for kind in (
        str, bytes, int, float, list, tuple, dict, set, BaseException, io.BufferedWriter, Path,
        re.Match, re.Pattern, logging.Logger, np.ndarray, collections.OrderedDict,
        collections.deque, subprocess.CompletedProcess,
    ):  # fmt: skip
        known.update(dir(kind))
    unknown = [
        f"{name}:{line}: {attribute}"
        for name, uses in files.items()
        for line, attribute in uses.unknown
        if attribute not in known
    ]
    assert unknown == []


def _own_vocabulary():
    """All functions, classes and attributes that refdet_core defines."""
    names = set()
    for path in (ROOT / "refdet_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.ClassDef):
                names.update(
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                )
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    return names


def test_callbacks_are_complete(api, files):
    derived = [item for uses in files.values() for item in uses.subclasses]
    assert {name for name, _ in derived} == {"ILogger", "IInt8EntropyCalibrator2"}
    for name, methods in derived:
        assert set(api.overridable(name)) - NOT_CALLED_BY_TENSORRT <= methods, name


# The doubles.

DOUBLES = {
    "Severity": "ILogger.Severity",
    "_Runtime": "Runtime",
    "_Engine": "ICudaEngine",
    "_NamedEngine": "ICudaEngine",
    "_Context": "IExecutionContext",
    "_NamedContext": "IExecutionContext",
    "_MemoryProperty": "IExecutionContext",
}
"""Class of the real module by the beginning of the double's, where they are not the same."""
NO_DOUBLES = {"Build", "FakeTensorRT", "Specialization", "_RuntimeConfig", "_EngineRtx"}
CONTROLS = {"IExecutionContext.shares_profiles"}
"""What tests set on a double."""


def _doubles(api):
    """(file, class of the double, real class, names and arguments) of all doubles."""
    for path in sorted((ROOT / "test").glob("fake_tensorrt*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef) or node.name in NO_DOUBLES:
                continue
            starts = [start for start in DOUBLES if node.name.startswith(start)]
            real = DOUBLES[max(starts, key=len)] if starts else node.name
            assert real in api.classes or real in NEW_IN_10, f"{path.name}: what is {node.name}?"
            yield path.name, node, real


def test_doubles_offer_nothing_that_tensorrt_lacks(api):
    wrong, seen = [], set()
    for file, node, real in _doubles(api):
        seen.add(real)
        for line, name in _public_names(node):
            qualified = f"{real}.{name}"
            if real in NEW_IN_10 or qualified in {*NEW_IN_10, *CONTROLS, *ONLY_IN_RTX}:
                continue
            if name not in api.classes[real]:
                wrong.append(f"{file}:{line}: {qualified}")
    assert wrong == []
    assert {"Builder", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "OnnxParser"} <= seen


def test_methods_of_doubles_take_the_same_arguments(api):
    wrong = []
    for file, node, real in _doubles(api):
        for item in node.body:
            member = api.classes.get(real, {}).get(getattr(item, "name", ""))
            qualified = f"{real}.{getattr(item, 'name', '')}"
            if not isinstance(item, ast.FunctionDef) or member is None or not member.signatures:
                continue
            given = tuple(argument.arg for argument in item.args.args[1:])
            allowed = {signature.arguments for signature in member.signatures}
            if qualified in NEW_ARGUMENTS_IN_10:
                allowed.add(NEW_ARGUMENTS_IN_10[qualified])
            # Overloads that differ in a type alone share a method here.
            fits = given in allowed or (
                len(allowed) > 1 and len(given) in {len(names) for names in allowed}
            )
            if not fits:
                wrong.append(f"{file}:{item.lineno}: {qualified}{given}, real {sorted(allowed)}")
    assert wrong == []


def _public_names(node):
    """Methods, properties and constants of a class, but for those that begin with _.

    What a double keeps in attributes of its objects is its own: that refdet_core does not touch it
    is what the tests above say.
    """
    for item in node.body:
        names = []
        if isinstance(item, (ast.FunctionDef, ast.ClassDef)):
            names = [item.name]
        elif isinstance(item, ast.Assign):
            names = [name.id for name in ast.walk(item) if _is_stored_name(name)]
        for name in names:
            if not name.startswith("_"):
                yield item.lineno, name


def _is_stored_name(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def test_the_double_of_the_builder_has_the_same_enumerations(api):
    fake_tensorrt = pytest.importorskip("fake_tensorrt")
    for version in ("8.4.1", "8.5.3.1"):
        module = fake_tensorrt.FakeTensorRT(version).module()
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            assert name in api.module, name
            if isinstance(value, type):
                members = [item for item in vars(value) if not item.startswith("_")]
                assert set(members) <= set(api.classes[name]), name


# The real module, as far as it goes without a GPU.


def _has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


without_gpu = pytest.mark.skipif(_has_driver(), reason="there is a CUDA driver here")


def _refdet(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "refdet_core.cli", *words],
        cwd=str(ROOT),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@without_gpu
def test_without_a_driver_building_answers_one_sentence(tmp_path):
    answer = _refdet("engine", "build", "--engine-folder", str(tmp_path))
    assert answer.returncode == 2
    (line,) = answer.stderr.strip().splitlines()
    assert line.startswith("refdet: ") and "onnxruntime" in line
    assert not list(tmp_path.glob("*.engine*"))


@without_gpu
def test_without_a_gpu_building_answers_one_sentence(tmp_path):
    driver = os.environ.get("REFDET_EMPTY_DRIVER")
    if driver is None:
        pytest.skip("no CUDA driver to load (make check-jetson)")
    answer = _refdet("engine", "build", "--engine-folder", str(tmp_path), LD_LIBRARY_PATH=driver)
    assert answer.returncode == 2
    (line,) = answer.stderr.strip().splitlines()
    assert line.startswith("refdet: ") and "onnxruntime" in line


@without_gpu
def test_the_real_builder_without_a_gpu_becomes_a_sentence():
    from refdet_core.backends.engines.build import Recipe, build
    from refdet_core.backends.engines.progress import Progress

    recipe = Recipe("detector", b"", (), "fp32", (), 64)
    with Progress("test") as progress, pytest.raises(BackendError) as caught:
        build(tensorrt, recipe, b"", progress)
    assert "TensorRT 8.5" in str(caught.value) and "NVIDIA GPU" in str(caught.value)


@without_gpu
def test_the_automatic_backend_does_not_take_a_tensorrt_that_cannot_run():
    from refdet_core.detector import Detector

    with Detector.open() as detector:
        assert detector.backend.info.name == "onnxruntime"
