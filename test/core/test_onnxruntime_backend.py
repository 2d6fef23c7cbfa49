"""ONNX Runtime on the CPU: crops in several runs, and as many threads as there are cores."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnxruntime

from refdet_core.backends.config import BackendConfig
from refdet_core.backends.onnxruntime import OnnxRuntimeBackend, usable_cores
from refdet_core.bundle import load_bundle
from refdet_core.errors import BackendError


class Watched:
    """A session that notes how many crops each run is given."""

    def __init__(self, session):
        self.session = session
        self.runs = []

    def run(self, names, inputs):
        self.runs.append(len(inputs["frame"]))
        return self.session.run(names, inputs)


@pytest.fixture
def bundle(colour_bundle):
    return load_bundle(colour_bundle)


@pytest.fixture
def watched(bundle):
    """A backend and its watched detector graph."""
    encoder, detector = (
        onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        for graph in (bundle.template_graph, bundle.detector_graph)
    )
    session = Watched(detector)
    return OnnxRuntimeBackend(encoder, session, bundle), session


def crops(count, sides):
    values = np.random.default_rng(0).uniform(0, 255, (count, 3, sides[0] // 8, sides[1] // 8))
    return np.kron(values, np.ones((1, 1, 8, 8))).astype(np.float32)


def red():
    return (np.array([1.0, 0, 0], np.float32).reshape(1, 3, 1, 1),)


# Two of the first are, and one of the second is, more than goes through at once.
@pytest.mark.parametrize(("count", "sides"), [(3, (384, 384)), (1, (520, 520))])
def test_large_crops_go_through_one_by_one_and_give_what_each_gives_alone(watched, count, sides):
    backend, session = watched
    frames = crops(count, sides)
    maps = backend.infer(frames, red())
    assert session.runs == [1] * count
    for index in range(count):
        (score, box, presence) = session.session.run(
            ["score", "box", "presence"], {"frame": frames[index : index + 1], "kernel": red()[0]}
        )
        assert np.array_equal(maps.score[index], score[0])
        assert np.array_equal(maps.box[index], box[0])
        assert np.array_equal(maps.presence[index], presence[0])


def test_small_crops_go_through_together(watched):
    backend, session = watched
    maps = backend.infer(crops(5, (192, 192)), red())
    assert session.runs == [5]
    assert maps.score.shape == (5, 1, 24, 24)


def test_threads_are_as_told_or_one_for_each_core(bundle, monkeypatch):
    given = []
    session = onnxruntime.InferenceSession

    def noted(graph, options, providers):
        given.append(options.intra_op_num_threads)
        return session(graph, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    OnnxRuntimeBackend.open(bundle, BackendConfig(threads=3)).close()
    OnnxRuntimeBackend.open(bundle, BackendConfig()).close()
    assert given == [3, 3, usable_cores(), usable_cores()]


def test_threads_of_one_core_count_once_and_cores_not_allowed_not_at_all(tmp_path, monkeypatch):
    # Two threads a core: CPUs 0 and 4, 1 and 5; and CPU 6, of which the system says nothing.
    for cpu, siblings in ((0, "0,4"), (1, "1,5"), (4, "0,4"), (5, "1,5")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    for allowed, cores in (({0, 4}, 1), ({0, 1}, 2), ({0, 1, 4, 5}, 2), ({5, 6}, 2), ({6}, 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cpus=allowed: cpus)
        assert usable_cores(tmp_path) == cores


def test_without_affinity_every_processor_counts(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores(tmp_path) == 7


def test_a_precision_it_does_not_have_is_refused(bundle):
    with pytest.raises(BackendError, match="fp32, not in int8"):
        OnnxRuntimeBackend.open(bundle, BackendConfig(precision="int8"))


def test_a_graph_that_is_none_is_named(bundle, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(bundle.folder, broken)
    (broken / "detector.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError, match=r"refuses .*detector\.onnx"):
        OnnxRuntimeBackend.open(load_bundle(broken))
