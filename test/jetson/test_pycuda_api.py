"""What refdet asks of pycuda and of CUDA's driver, against the real ones.

`make check-jetson` builds pycuda for CUDA 11.4. It cannot be imported without a driver library, so
on a machine without one a process of its own gets the empty one that pycuda was linked with.
"""

from __future__ import annotations

import ast
import collections
import ctypes
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jetson.api_description import Api, Member
from jetson.api_uses import find_uses_in

ROOT = Path(__file__).resolve().parents[2]
CUDA = ROOT / "refdet_core" / "backends" / "cuda.py"
CUDA_DRIVER = ROOT / "refdet_core" / "backends" / "cuda_driver.py"
MODULES = ("driver", "compiler")

# What tests get at the double through.
CONTROLS = {"driver.cuda"}

# CUresult has it since CUDA 12; a name that an older driver never answers does no harm.
ERRORS_AFTER_CUDA_11 = {"CUDA_ERROR_CONTAINED"}

_DESCRIBE = """
import dataclasses, importlib, json, sys
from jetson.api_description import describe
print(json.dumps({name: dataclasses.asdict(describe(importlib.import_module("pycuda." + name)))
                  for name in sys.argv[1:]}))
"""


@pytest.fixture(scope="module")
def apis():
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("no pycuda here (make check-jetson)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "test")}
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        if "REFDET_EMPTY_DRIVER" not in os.environ:
            pytest.skip("no CUDA driver to load (make check-jetson)")
        environment["LD_LIBRARY_PATH"] = os.environ["REFDET_EMPTY_DRIVER"]
    answer = subprocess.run(
        [sys.executable, "-c", _DESCRIBE, *MODULES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return {name: _read(content) for name, content in json.loads(answer.stdout).items()}


def _read(content):
    def members(items):
        return {key: Member(item["is_class"], item["type"]) for key, item in items.items()}

    return Api(
        members(content["module"]),
        {name: members(items) for name, items in content["classes"].items()},
    )


@pytest.mark.parametrize("name", MODULES)
def test_every_name_is_in_pycuda(apis, name):
    uses = find_uses_in(CUDA, apis[name], {name}, {})
    assert len({item.qualified for item in uses.api}) >= {"driver": 10, "compiler": 1}[name]
    assert [str(item) for item in uses.api if item.problem] == []


def test_attributes_of_untyped_objects_are_pycudas_or_known_from_elsewhere(apis):
    uses = find_uses_in(CUDA, apis["driver"], {"driver"}, {})
    known = set()
    for api in apis.values():
        for members in api.classes.values():
            known.update(members)
    for kind in (str, list, dict, tuple, Path, np.ndarray, logging.Logger, collections.deque):
        known.update(dir(kind))
    for path in (CUDA, CUDA_DRIVER):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                known.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                known.add(node.attr)
    # pycuda.driver gives the compiled class Function these two at import.
    known.update({"prepare", "prepared_async_call"})
    assert [(line, name) for line, name in uses.unknown if name not in known] == []


def test_the_double_offers_nothing_that_pycuda_lacks(apis, tmp_path):
    fake_cuda = pytest.importorskip("fake_cuda")
    modules = fake_cuda.FakeCuda(tmp_path).pycuda()
    wrong = []
    for name in MODULES:
        api = apis[name]
        for key, value in vars(modules[f"pycuda.{name}"]).items():
            if key.startswith("_"):
                continue
            if key not in api.module and f"{name}.{key}" not in CONTROLS:
                wrong.append(f"{name}.{key}")
            elif isinstance(value, type) and key in api.classes:
                wrong += [
                    f"{name}.{key}.{item}"
                    for item in vars(value)
                    if not item.startswith("_") and item not in api.classes[key]
                ]
    assert wrong == []


@pytest.fixture(scope="module")
def header():
    """CUDA's cuda.h, as text."""
    spec = importlib.util.find_spec("nvidia")
    folders = [*(spec.submodule_search_locations if spec else []), "/usr/local/cuda"]
    for folder in folders:
        for path in (
            Path(folder) / "cuda_runtime" / "include" / "cuda.h",
            Path(folder) / "include" / "cuda.h",
        ):
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace")
    pytest.skip("no cuda.h here (make check-jetson)")
    return None


def test_functions_of_the_driver_exist(header):
    """With their suffix: a library exports cuMemAlloc_v2, not cuMemAlloc."""
    called = set()
    for path in (CUDA_DRIVER, ROOT / "refdet_core" / "doctor" / "checks.py"):
        called.update(re.findall(r"\"(cu[A-Z]\w+)\"", path.read_text(encoding="utf-8")))
    assert len(called) > 10
    declared = set(re.findall(r"\b(cu[A-Z]\w+)", header))
    assert sorted(called - declared) == []
    renamed = dict(
        re.findall(r"#define\s+(cu[A-Z]\w+)\s+(?:__CUDA_API_\w+\()?(cu[A-Z]\w+_v\d)", header)
    )
    assert sorted(called & set(renamed)) == []


def test_errors_of_the_driver_exist(header):
    source = CUDA_DRIVER.read_text(encoding="utf-8")
    (lost,) = re.findall(r"LOST = (.*?\n\))", source, re.S)
    names = {f"CUDA_ERROR_{name}" for name in re.findall(r"\"([A-Z_]+[A-Z])\"", lost)}
    names.update(re.findall(r"\"(CUDA_ERROR_\w+[A-Z])\"", source))
    declared = set(re.findall(r"\bCUDA_ERROR_\w+", header))
    assert len(names) > 8
    assert names - declared <= ERRORS_AFTER_CUDA_11
