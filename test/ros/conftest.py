"""Real nodes in processes of their own, and a client in this one, over Fast DDS.

Every session has a ROS domain to itself; the nodes run the toy model.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from forked_process import ForkedProcess
from toy_model import COLOURS_BGR, SQUARE, SQUARES_XY, square_frame

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
"""How long to wait for what comes at once on a quiet machine; only a failure waits so long."""


def _claim_domain():
    """A ROS domain that no other session on this machine uses, and the socket that reserves it."""
    for domain in random.sample(range(1, 91), 90):
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", 29000 + domain))
        except OSError:
            guard.close()
        else:
            return domain, guard
    raise RuntimeError("All ROS domains 1-90 are in use by other test sessions.")


_domain, _guard = _claim_domain()
os.environ.update(
    ROS_DOMAIN_ID=str(_domain),
    ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
    ROS_PYTHON_CHECK_FIELDS="1",
)
for _variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
    os.environ[_variable] = str(REPOSITORY / "config" / "fastdds_shm.xml")

try:
    import rclpy
except ImportError:
    rclpy = None
    collect_ignore_glob = ["test_*.py"]


class NodeProcess:
    """``python -m refdet_ros`` with parameters, remaps and a namespace.

    Args:
        module: another node's than the detector's.
        faults: folder of commands for the device it runs on, see :mod:`faulty_backend`.
        interpreter: start a new one, see :mod:`forked_process`.
    """

    def __init__(
        self,
        log,
        namespace="",
        arguments=(),
        faults=None,
        module="refdet_ros",
        interpreter=False,
        **parameters,
    ):
        name = "detector" if module == "refdet_ros" else module.rpartition(".")[2]
        command = ["--ros-args"]
        command += ["-r", "__ns:=/" + namespace] if namespace else []
        for key, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command += ["-p", "{}:={}".format(key, text if text else '""')]
        self.name = "/".join(["", namespace, name]) if namespace else "/" + name
        self.identity = (namespace, module)
        command += arguments
        self.log = log
        log.touch()
        if interpreter:
            with log.open("w") as output:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", module, *command],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=REPOSITORY,
                )
        elif faults is None:
            self.process = ForkedProcess(module, command, log, REPOSITORY)
        else:
            run, folder = "faulty_backend:run_node", str(faults)
            self.process = ForkedProcess(run, command, log, REPOSITORY, FAULTS=folder)

    @property
    def output(self):
        return self.log.read_text()

    def wait(self, timeout=PATIENCE_S):
        """Wait until it has ended by itself, and return the exit code."""
        return self.process.wait(timeout)

    def stop(self, *signals, timeout=PATIENCE_S):
        """Send the signals (default SIGINT), wait, and return the exit code."""
        for number in signals or (signal.SIGINT,):
            if self.process.poll() is None:
                self.process.send_signal(number)
                time.sleep(0.05)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Client:
    """A node of this process with its own executor thread."""

    def __init__(self, namespace=""):
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(
            "test_client", namespace="/" + namespace, context=self.context
        )
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self._clients = {}

    def _spin(self):
        from rclpy.executors import ExternalShutdownException

        # What rclpy raises, as where a test destroys a publisher while the executor looks at it,
        # must not stop all that follows.
        with contextlib.suppress(ExternalShutdownException):
            while not self._closing.is_set():
                try:
                    self._executor.spin()
                except ExternalShutdownException:
                    raise
                except Exception:
                    traceback.print_exc()

    def collect(self, message_type, topic, qos=10):
        """Subscribe; returns the list that grows with each message."""
        messages = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def publisher(self, message_type, topic, qos=10, subscribers=1):
        """A publisher that has been discovered by as many subscribers."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        wait_for(lambda: publisher.get_subscription_count() >= subscribers, PATIENCE_S, topic)
        return publisher

    def call(self, service_type, name, request=None, timeout=PATIENCE_S):
        """Call a service and return its response.

        The first call of a client is sent again if no answer comes: DDS may deliver a request
        before the server has discovered where the answer goes, and the answer is then dropped.
        The first answer counts: a server that was only slow refuses the second request.
        """
        waits_s = [timeout]
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, name)
            assert self._clients[name].wait_for_service(PATIENCE_S), "no service " + name
            waits_s = [5, 5, timeout]
        done, futures = threading.Event(), []
        for wait_s in waits_s:
            futures.append(self._clients[name].call_async(request or service_type.Request()))
            futures[-1].add_done_callback(lambda _: done.set())
            if done.wait(wait_s):
                return next(future for future in futures if future.done()).result()
        raise AssertionError(f"{name} did not answer in {timeout} s")

    def state(self, node="/detector"):
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, node + "/get_state").current_state.label

    def change_state(self, transition, node="/detector", timeout=PATIENCE_S):
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request(
            transition=Transition(id=getattr(Transition, "TRANSITION_" + transition.upper()))
        )
        return self.call(ChangeState, node + "/change_state", request, timeout).success

    def set_parameter(self, name, value, node="/detector"):
        """The result (successful, reason) of setting one parameter."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, node + "/set_parameters", request).results[0]

    @contextlib.contextmanager
    def parameters(self, node="/detector", **values):
        """Set parameters that the node takes, and set them back at the end."""
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        names = GetParameters.Request(names=list(values))
        answer = self.call(GetParameters, node + "/get_parameters", names)
        before = dict(zip(values, map(parameter_value_to_python, answer.values), strict=True))
        try:
            for name, value in values.items():
                result = self.set_parameter(name, value, node)
                assert result.successful, result.reason
            yield
        finally:
            for name in reversed(before):
                self.set_parameter(name, before[name], node)

    def close(self):
        self._closing.set()
        self._executor.shutdown(5)
        self.context.try_shutdown()
        self._thread.join(5)


def wait_for(condition, timeout=PATIENCE_S, what="the condition"):
    """Poll until the condition holds; returns its value."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {timeout} s for {what}")


class Bench:
    """A node, its camera and what comes out, shared by the tests of a file.

    Args:
        reliable: no frame is lost, nor sent twice; for a node with ``image_qos`` reliable.
    """

    def __init__(self, node, client, transport="raw", reliable=False):
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.qos import qos_profile_sensor_data
        from refdet_msgs.msg import TargetArray
        from sensor_msgs.msg import CompressedImage, Image
        from vision_msgs.msg import Detection2DArray

        self.node, self.client = node, client
        message_type = CompressedImage if transport == "compressed" else Image
        topic = "image/compressed" if transport == "compressed" else "image"
        quality = 10 if reliable else qos_profile_sensor_data
        self._again_s = PATIENCE_S / 2 if reliable else 0.5
        self.camera = client.publisher(message_type, topic, quality)
        self.detections = client.collect(Detection2DArray, "detections")
        self.targets = client.collect(TargetArray, "targets")
        wait_for(lambda: client.node.count_publishers(client.node.resolve_topic_name("detections")))
        self.diagnostics = client.collect(DiagnosticArray, "/diagnostics")

    def result(self, image, timeout=PATIENCE_S):
        """Send one frame until its own result comes: best effort may lose some."""

        def mine():
            self.camera.publish(image)
            deadline = time.monotonic() + self._again_s
            while time.monotonic() < deadline:
                for message in self.detections:
                    if message.header == image.header:
                        return message
                time.sleep(0.005)
            return None

        return wait_for(mine, timeout, "the frame's detections")

    def set_template(self, *colours, template_id="", append=False):
        references = [Toolbox.colour_reference(colour) for colour in colours]
        response = self.request(*references, template_id=template_id, append=append)
        assert response.success, response.message
        return response

    def request(self, *references, **fields):
        """The response to a ``set_template`` request."""
        from refdet_msgs.srv import SetTemplate

        request = Toolbox.set_template_request(*references, **fields)
        return self.client.call(SetTemplate, "set_template", request)

    def clear(self):
        from refdet_msgs.srv import ClearTemplate

        assert self.client.call(ClearTemplate, "clear_template").success

    def wait_status(self, condition, timeout=PATIENCE_S):
        """The first diagnostic of this node that fulfils the condition, from now on."""
        name = self.node.name.lstrip("/") + ": refdet"
        read = len(self.diagnostics)

        def found():
            nonlocal read
            while read < len(self.diagnostics):
                statuses = self.diagnostics[read].status
                read += 1  # once each: conditions may send frames
                for status in statuses:
                    values = {item.key: item.value for item in status.values}
                    if status.name == name and condition(status, values):
                        return status
            return None

        return wait_for(found, timeout, "such a diagnostic")


class Toolbox:
    """What tests need of this file, as one fixture: test modules cannot import a conftest."""

    PATIENCE_S = PATIENCE_S
    square_frame = staticmethod(square_frame)
    wait_for = staticmethod(wait_for)
    SQUARE = SQUARE
    COLOURS_BGR = COLOURS_BGR
    SQUARES_XY = SQUARES_XY
    REPOSITORY = REPOSITORY
    Bench = Bench

    @staticmethod
    def header(frame_id="camera", stamp_ns=None):
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
        return Header(
            frame_id=frame_id, stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        )

    @classmethod
    def image(cls, frame_bgr, header=None, encoding="bgr8"):
        from refdet_ros.conversions import to_image

        return to_image(frame_bgr, encoding, header or cls.header())

    @staticmethod
    def set_template_request(*references, template_id="", append=False):
        from refdet_msgs.srv import SetTemplate

        return SetTemplate.Request(
            references=list(references), template_id=template_id, append=append
        )

    @classmethod
    def colour_reference(cls, colour):
        """A reference photo that is one of the coloured squares."""
        from refdet_msgs.msg import TemplateReference

        photo = np.full((48, 48, 3), COLOURS_BGR[colour], np.uint8)
        return TemplateReference(image=cls.image(photo))


@pytest.fixture(scope="session")
def tools():
    return Toolbox


@pytest.fixture(scope="module")
def start_node(colour_bundle, tmp_path_factory):
    """Start node processes with the toy model; they are stopped when the module ends."""
    started = []

    def start(namespace="", module="refdet_ros", **parameters):
        if module == "refdet_ros":
            parameters.setdefault("bundle", colour_bundle)
        log = tmp_path_factory.mktemp("node") / "log.txt"
        for earlier in started:  # a test that runs again finds its first attempt's node
            if earlier.identity == (namespace, module) and earlier.process.poll() is None:
                earlier.stop()
        process = NodeProcess(log, namespace, module=module, **parameters)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.poll() is None:
            process.stop()


@pytest.fixture
def start_console(tmp_path):
    """Start consoles with these options; they are stopped when the test ends."""
    from console_process import ConsoleProcess

    started = []

    def start(*arguments):
        started.append(ConsoleProcess(tmp_path, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="module")
def connect():
    """Make clients; they are closed when the module ends."""
    clients = []

    def make(namespace=""):
        clients.append(Client(namespace))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
