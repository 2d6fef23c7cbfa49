"""The worker's thread and the pipeline, without DDS."""

import threading
import time

import numpy as np
import pytest

from refdet_core import following_speed
from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.errors import BackendError, DeviceLostError
from refdet_core.search_plans import TRACKING_SEARCHES
from refdet_ros import device_recovery as recovery_module
from refdet_ros.device_recovery import DeviceRecovery
from refdet_ros.open_detector import open_detector
from refdet_ros.parameters import Settings, changed
from refdet_ros.worker import Worker, WorkerBusyError


@pytest.fixture
def gate():
    return threading.Event()


def test_newest_frame_wins(gate, tools):
    seen, errors = [], []
    started = threading.Event()

    def slow(frame):
        seen.append(frame)
        started.set()
        gate.wait(60)

    worker = Worker(slow, errors.append)
    assert not worker.offer(1)
    assert started.wait(60)
    assert not worker.offer(2)
    assert worker.offer(3) and worker.offer(4)
    gate.set()
    tools.wait_for(lambda: len(seen) == 2)
    assert seen == [1, 4] and not errors
    assert worker.stop(5)


def test_jobs_come_before_the_waiting_frame(gate):
    order = []
    started = threading.Event()

    def slow(frame):
        started.set()
        gate.wait(60)
        order.append(frame)

    worker = Worker(slow, order.append)
    worker.offer("first")
    assert started.wait(60)
    worker.offer("second")
    threading.Timer(0.1, gate.set).start()
    assert worker.call(lambda: order.append("job") or 7, 5) == 7
    worker.call(lambda: None, 5)
    assert order[:2] == ["first", "job"]
    assert worker.stop(5)


def test_errors_go_to_whom_they_concern(tools):
    errors = []

    def fail(frame):
        raise KeyError(frame)

    worker = Worker(fail, errors.append)
    worker.offer("bad frame")
    tools.wait_for(lambda: errors)
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 / 0, 5)
    with pytest.raises(TimeoutError):  # a job's own, not the waiting's
        worker.call(lambda: exec("raise TimeoutError"), 5)
    assert worker.call(lambda: "alive", 5) == "alive"
    assert worker.stop(5)


def test_a_job_that_cannot_begin_is_dropped(gate):
    ran = []
    worker = Worker(lambda frame: gate.wait(60), ran.append)
    worker.offer(1)
    time.sleep(0.05)
    with pytest.raises(WorkerBusyError, match="nothing was changed"):
        worker.call(lambda: ran.append("late"), 0.2)
    gate.set()
    worker.call(lambda: None, 5)
    assert ran == []
    assert worker.stop(5)


def test_waiting_ends_with_the_process(gate):
    worker = Worker(lambda frame: gate.wait(60), print, keep_waiting=lambda: False)
    worker.offer(1)
    time.sleep(0.05)
    started = time.monotonic()
    with pytest.raises(WorkerBusyError, match="shutting down"):
        worker.call(lambda: None, 60)
    assert time.monotonic() - started < 30
    gate.set()


def test_stop_runs_the_last_job_and_refuses_more():
    last = []
    worker = Worker(print, print, on_stop=lambda: last.append(threading.current_thread().name))
    assert worker.stop(5) and worker.stop(5)
    assert last == ["refdet_worker"]
    with pytest.raises(WorkerBusyError, match="shutting down"):
        worker.call(lambda: None, 1)


def test_stop_tells_of_a_hanging_frame(gate):
    worker = Worker(lambda frame: gate.wait(60), print)
    worker.offer(1)
    time.sleep(0.05)
    assert not worker.stop(0.1)
    gate.set()
    assert worker.stop(5)


def test_what_the_error_handler_raises_does_not_keep_the_last_job_from_running(tools, monkeypatch):
    last, raised = [], []
    monkeypatch.setattr(threading, "excepthook", lambda it: raised.append(it.exc_type))

    def fail(error):
        raise error

    worker = Worker(lambda frame: 1 / frame, fail, on_stop=lambda: last.append("closed"))
    worker.offer(0)
    tools.wait_for(lambda: raised)
    assert raised == [ZeroDivisionError]
    assert worker.stop(5) and last == ["closed"]


def test_a_device_lost_while_the_worker_stops_is_told_and_not_opened_again(gate, tools):
    losses, last = [], []

    def lose(frame):
        gate.wait(60)
        raise DeviceLostError("719")

    worker = Worker(lose, lambda error: recovery.lost(error), lambda: last.append("closed"))
    recovery = DeviceRecovery(lambda: last.append("reopened"), worker.submit, losses.append)
    worker.offer(1)
    time.sleep(0.05)
    assert not worker.stop(0.05)
    gate.set()
    assert worker.stop(5) and last == ["closed"]
    assert [str(error) for error in losses] == ["719"]
    recovery.tend()  # by the timer of a node that is not gone yet


def test_a_device_that_is_lost_to_a_new_backend_as_well_is_given_up(monkeypatch):
    attempts = []

    def reopen():
        attempts.append(len(attempts))
        raise (BackendError("not there yet"), DeviceLostError("still 719"))[attempts[-1]]

    monkeypatch.setattr(recovery_module, "RETRY_S", 0.0)
    recovery = DeviceRecovery(reopen, lambda job: job(), lambda error: None)
    recovery.lost(DeviceLostError("719"))
    assert attempts == [0] and not recovery.hopeless
    assert "is being opened again: 719 The last attempt failed: not there yet" in recovery.problem
    for _ in range(3):
        recovery.tend()
    assert attempts == [0, 1] and recovery.hopeless
    assert "only a new process can have it back: 719" in recovery.problem
    assert "still 719" in recovery.problem


def window_sides(monkeypatch, most=10**6):
    """Sides of the square crops that ONNX Runtime is asked for from now on, network pixels.

    Args:
        most: it refuses larger ones, as an engine does.
    """
    sides = set()
    infer = OnnxRuntimeBackend.infer

    def watched(backend, frames, features):
        height, width = frames.shape[2:]
        if height == width:
            sides.add(width)
            if width > most:
                raise BackendError(f"The engine takes at most {most} px, got {width}.")
        return infer(backend, frames, features)

    monkeypatch.setattr(OnnxRuntimeBackend, "infer", watched)
    return sides


@pytest.mark.parametrize("search", TRACKING_SEARCHES)
@pytest.mark.parametrize("scales", [1, 3])
def test_the_widest_window_is_tried_before_the_first_frame(
    colour_bundle, monkeypatch, search, scales
):
    sides = window_sides(monkeypatch)
    settings = changed(
        Settings(), {"bundle": str(colour_bundle), "search": search, "track_scales": scales}
    )
    with open_detector(settings) as detector:
        usual = detector.bundle.tracking.window.size
    assert min(sides) < 1.2 * usual and max(sides) == 1.5 * usual


def test_a_window_that_is_too_wide_is_refused_while_the_model_is_opened(colour_bundle, monkeypatch):
    window_sides(monkeypatch, most=256)
    settings = changed(Settings(), {"bundle": str(colour_bundle), "search": "auto"})
    with pytest.raises(BackendError, match="at most 256 px, got 288"):
        open_detector(settings)


@pytest.mark.parametrize(
    ("tracking_bundle", "slow", "following"),
    [
        ("auto", False, ["lighttrack", "fear", "nanotrackv3"]),
        ("auto", True, ["nanotrackv3"]),
        ("lighttrack+fear", True, ["lighttrack", "fear"]),  # as the operator says
        ("none", True, []),
    ],
)
def test_a_slow_computer_follows_with_fewer_networks(monkeypatch, tracking_bundle, slow, following):
    monkeypatch.setattr(following_speed, "followed_frame_s", lambda *_: 10.0 if slow else 0.0)
    settings = changed(
        Settings(), {"bundle": "small", "search": "auto", "tracking_bundle": tracking_bundle}
    )
    with open_detector(settings) as detector:
        assert [each.bundle.name for each in detector.others if each.follows] == following


class SilentPublisher:
    wants_heatmap = False

    def __init__(self):
        self.frames = []

    def publish_frame(self, header, frame_bgr, result):
        self.frames.append((header, result))

    def publish_templates(self, templates):
        pass


def test_heatmap_is_computed_only_when_wanted(colour_bundle, tools):
    from rclpy.clock import Clock

    from refdet_core.types import Reference
    from refdet_ros.counters import Statistics
    from refdet_ros.pipeline import Pipeline

    publisher, counts = SilentPublisher(), Statistics()
    settings = changed(Settings(), {"bundle": str(colour_bundle), "tile_width": 320})
    pipeline = Pipeline(settings, publisher, counts, Clock(), print, lambda: True)
    pipeline.open().result(30)
    assert pipeline.template_counts == {}  # the warm-up's is gone
    red = np.full((40, 40, 3), tools.COLOURS_BGR["red"], np.uint8)
    pipeline.set_template([Reference(red)], "red", append=False)
    for wanted in (False, True):
        publisher.wants_heatmap = wanted
        pipeline.offer(tools.image(tools.square_frame("red")))
        tools.wait_for(lambda n=wanted: len(publisher.frames) == n + 1)
        result = publisher.frames[-1][1]
        assert bool(result.heatmaps) is wanted and len(result.detections) == 1
    tools.wait_for(lambda: counts.snapshot().processed == 2)
    times = counts.snapshot().times_ms
    assert {"wait", "convert", "detect", "network", "publish", "latency", "overhead"} <= set(times)
    assert pipeline.close()
