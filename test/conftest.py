from __future__ import annotations

import gc
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import toy_model

TESTS = Path(__file__).resolve().parent
OF_NODES = ("launch", "locate", "ros")
"""Folders whose tests start nodes, and wait for them."""
LONG_FILES_FIRST = (*OF_NODES, "training")
"""Folders, so that parallel workers end at about the same time."""

# A shell starts background jobs with SIGINT ignored, and so would be every process that a test
# starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def folder_of(item):
    return Path(str(item.fspath)).resolve().relative_to(TESTS).parts[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: folder_of(item) not in LONG_FILES_FIRST)
    for item in items:
        # Discovery, a browser or a clock may be late once on a busy machine, not twice.
        if folder_of(item) in OF_NODES:
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


def pytest_collection_finish():
    # What is imported and collected by now stays until the end. The garbage collector need not look
    # at it again, which takes half a second each time with torch among it.
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config):
    gc.unfreeze()
    if not hasattr(config, "workerinput"):
        free_shared_memory()


def free_shared_memory():
    """Nodes that were killed leave their shared memory behind: half a gigabyte for a whole run."""
    tool = Path(sys.executable).with_name("fastdds")
    if tool.exists():
        subprocess.run(
            [str(tool), "shm", "clean"], stdout=subprocess.DEVNULL, check=False, timeout=60
        )


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory):
    """Folder of the toy model's bundle."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("colour_bundle")
    toy_model.write_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def square_frame():
    """A function of colours: a grey frame with their squares at their places."""
    return toy_model.square_frame


@pytest.fixture(scope="session")
def squares():
    """Left upper corner of each colour's square."""
    return dict(toy_model.SQUARES_XY)
