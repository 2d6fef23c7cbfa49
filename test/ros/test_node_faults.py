"""Devices that fail, models that take long to open, and what the node says of it."""

import re
import signal
import threading
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from forked_process import RETRY_S
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from refdet_msgs.srv import SetTemplate

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture
def start(start_node, connect, tools, tmp_path):
    """A function that starts a node on a device that fails on command."""
    started = []

    def run(namespace, *commands, **parameters):
        for command in commands:
            (tmp_path / command).touch()
        node = start_node(namespace, faults=tmp_path, backend="onnxruntime", **parameters)
        started.append(node)
        return node, connect(namespace)

    yield run
    for node in started:
        if node.process.poll() is None:
            node.stop()


class Listener:
    """The diagnostics of one node."""

    def __init__(self, client, tools, namespace):
        self._wait_for = tools.wait_for
        self._name = namespace + "/detector: refdet"
        self._arrays = client.collect(DiagnosticArray, "/diagnostics")

    def wait(self, pattern):
        """Level and values of the first diagnostic from now on whose sentence has this pattern."""
        start = len(self._arrays)

        def found():
            for array in self._arrays[start:]:
                for status in array.status:
                    if status.name == self._name and re.search(pattern, status.message):
                        return status
            return None

        status = self._wait_for(found, what=f"a diagnostic with {pattern}")
        return status.level, {item.key: item.value for item in status.values}


def set_template(client, tools, *colours, template_id="target"):
    request = tools.set_template_request(
        *[tools.colour_reference(colour) for colour in colours], template_id=template_id
    )
    # The files of commands are still there: what waited for the device would never answer.
    return client.call(SetTemplate, "set_template", request)


def test_a_bank_that_does_not_fit_is_refused_and_frames_go_on(start, tools, tmp_path):
    node, client = start("small")
    bench = tools.Bench(node, client)
    bench.set_template("red")
    (tmp_path / "room").write_text("1")
    answer = set_template(client, tools, "green", template_id="more")
    assert not answer.success and "no memory left for the templates" in answer.message
    assert answer.reference_count == 0
    image = tools.image(tools.square_frame("red"), tools.header("after"))
    assert bench.result(image).detections
    (tmp_path / "room").unlink()
    assert set_template(client, tools, "green", template_id="more").success
    assert node.stop() == 0 and "Traceback" not in node.output


def test_no_memory_at_load_is_told_and_tried_again(start, tools, tmp_path):
    (tmp_path / "room").write_text("0")
    node, client = start("loading")
    told = "cannot configure: The GPU has no memory left for the templates; clear one."
    level, _ = Listener(client, tools, "loading").wait(told)
    assert level == ERROR and client.state("/loading/detector") == "unconfigured"
    (tmp_path / "room").unlink()
    tools.wait_for(lambda: client.state("/loading/detector") == "active")
    assert node.output.count(told) == 1


def test_a_lost_device_is_opened_again_while_the_node_stays_active(start, tools, tmp_path):
    node, client = start("lost", search="auto")
    bench, diagnostics = tools.Bench(node, client), Listener(client, tools, "lost")
    bench.set_template("red", template_id="car")
    ids = set()

    def film(seconds, enough=lambda: False):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not enough():
            bench.camera.publish(tools.image(tools.square_frame("red")))
            time.sleep(0.05)
            ids.update(item.id for message in bench.detections for item in message.detections)

    film(tools.PATIENCE_S, lambda: "1" in ids)
    assert ids == {"1"}

    (tmp_path / "lost").touch()
    film(tools.PATIENCE_S, lambda: "The device was lost" in node.output)
    time.sleep(0.3)  # what was published before is received
    del bench.detections[:]
    filming = threading.Thread(target=film, args=(2 * RETRY_S,))
    filming.start()
    level, values = diagnostics.wait(r"the device was lost .*cudaErrorLaunchFailure \(719\)")
    assert level == ERROR
    answer = set_template(client, tools, "green")
    assert not answer.success and "the device was lost" in answer.message
    assert "Try again later" in answer.message
    refused = client.set_parameter("search", "tiles", "/lost/detector")
    assert not refused.successful and "the device was lost" in refused.reason
    assert client.state("/lost/detector") == "active"
    filming.join()
    assert not bench.detections, "no device, and yet detections"
    level, values = diagnostics.wait("the device was lost .* The last attempt failed")
    assert int(values["frames dropped: device lost"]) > 5
    assert values["frames dropped: failed"] == "0"

    (tmp_path / "lost").unlink()
    film(tools.PATIENCE_S, lambda: bench.detections and bench.detections[-1].detections)
    level, values = diagnostics.wait("looking for 'car'")
    assert level == OK and "719" in values["last error"] and values["backend"] == "onnxruntime"
    film(1)
    assert ids <= {"1", "2"}  # it may be the old track or a new one; a new one has a new id
    assert set_template(client, tools, "green").success
    assert node.output.count("The device was lost, it is opened again") == 1
    assert node.output.count("cannot be opened again yet") == 1
    assert node.output.count("The device is back after") == 1
    assert node.stop() == 0 and "Traceback" not in node.output


def test_a_service_call_notices_the_loss_and_recovery_needs_no_frames(start, tools, tmp_path):
    node, client = start("quiet")
    tools.wait_for(lambda: client.state("/quiet/detector") == "active")
    assert set_template(client, tools, "red").success
    (tmp_path / "lost").touch()
    answer = set_template(client, tools, "green", template_id="more")
    assert not answer.success and "719" in answer.message
    # A node without a device can still be taken down and up.
    assert client.change_state("deactivate", "/quiet/detector")
    assert client.change_state("activate", "/quiet/detector")
    (tmp_path / "lost").unlink()
    tools.wait_for(lambda: "The device is back" in node.output)
    answer = set_template(client, tools, "green", template_id="more")
    assert answer.success, answer.message
    (tmp_path / "lost").touch()
    assert not set_template(client, tools, "blue").success
    assert client.change_state("deactivate", "/quiet/detector")
    assert client.change_state("cleanup", "/quiet/detector")
    (tmp_path / "lost").unlink()
    assert client.change_state("configure", "/quiet/detector")
    assert node.stop() == 0 and "Traceback" not in node.output


def test_a_device_that_is_lost_to_the_process_ends_it_with_code_1(start, tools, tmp_path):
    node, client = start("dead")
    diagnostics = Listener(client, tools, "dead")
    tools.wait_for(lambda: client.state("/dead/detector") == "active")
    assert set_template(client, tools, "red").success
    (tmp_path / "dead").touch()
    answer = set_template(client, tools, "green", template_id="more")
    assert not answer.success and "719" in answer.message
    level, _ = diagnostics.wait("only a new process can have it back: .*719")
    assert level == ERROR
    assert node.wait() == 75
    assert node.output.count("The node ends with exit code 75: the device was lost") == 1
    assert "those set by service are lost" in node.output
    assert node.output.count("The device was lost, it is opened again") == 1
    assert "cannot be opened again yet" not in node.output and "Traceback" not in node.output


def test_a_device_that_is_lost_while_the_model_is_opened_ends_the_process_too(
    start, tools, tmp_path
):
    node, _ = start("stillborn", "dead")
    assert node.wait() == 75
    assert "The node ends with exit code 75: cannot configure: The GPU does not" in node.output
    assert "Traceback" not in node.output


def test_engines_that_were_refused_are_not_built_again_until_asked_for(start, tools, tmp_path):
    node, client = start("refused", "refused")
    diagnostics = Listener(client, tools, "refused")
    told = "cannot configure: The engine does not compute what the graph says"
    diagnostics.wait(told)
    time.sleep(2 * RETRY_S)
    level, _ = diagnostics.wait(
        told + r".* change a setting, for example precision, then "
        "'ros2 lifecycle set /refused/detector configure'"
    )
    assert level == ERROR
    assert node.output.count("built for nothing") == 1 and node.output.count(told) == 1
    assert not client.change_state("configure", "/refused/detector")
    assert node.output.count("built for nothing") == 2
    (tmp_path / "refused").unlink()
    assert client.set_parameter("precision", "fp32", "/refused/detector").successful
    assert client.change_state("configure", "/refused/detector")
    # The rest is autostart's again.
    tools.wait_for(lambda: client.state("/refused/detector") == "active")
    assert node.stop() == 0 and "Traceback" not in node.output


def test_the_node_answers_while_the_model_is_being_opened(start, tools, tmp_path):
    node, client = start("slow", "slow")
    diagnostics = Listener(client, tools, "slow")
    level, _ = diagnostics.wait(r"opening the model for [1-9]\d* s: building the engines")
    assert level == WARN
    assert "[slow.detector]: building the engines" in node.output  # refdet_core's log is the node's
    assert client.state("/slow/detector") == "unconfigured"
    answer = set_template(client, tools, "red")
    assert not answer.success and "building the engines" in answer.message
    refused = client.set_parameter("threads", 2, "/slow/detector")
    assert not refused.successful and "wait until the model" in refused.reason
    assert client.set_parameter("score_threshold", 0.75, "/slow/detector").successful
    (tmp_path / "slow").unlink()
    tools.wait_for(lambda: client.state("/slow/detector") == "active")
    _, values = diagnostics.wait("no template")
    assert values["score threshold"] == "0.75"
    assert set_template(client, tools, "red").success


def test_a_lifecycle_manager_waits_for_the_model_and_diagnostics_go_on(start, tools, tmp_path):
    _, client = start("managed", "slow", autostart=False)
    diagnostics = Listener(client, tools, "managed")
    diagnostics.wait("unconfigured, not looking at images")
    results = []
    manager = threading.Thread(
        target=lambda: results.append(
            client.change_state("configure", "/managed/detector", timeout=90)
        )
    )
    manager.start()
    diagnostics.wait(r"opening the model for ([2-9]|\d\d+) s: building the engines")
    assert not results
    (tmp_path / "slow").unlink()
    manager.join(tools.PATIENCE_S)
    assert results == [True] and client.state("/managed/detector") == "inactive"


@pytest.mark.parametrize("autostart", [True, False])
def test_an_interrupt_ends_the_process_while_the_model_is_being_opened(
    start, tools, tmp_path, autostart
):
    name = f"interrupted_{autostart}".lower()
    node, client = start(name, "slow", autostart=autostart)
    if not autostart:
        manager = client.node.create_client(ChangeState, f"/{name}/detector/change_state")
        assert manager.wait_for_service(tools.PATIENCE_S)
        configure = Transition(id=Transition.TRANSITION_CONFIGURE)
        manager.call_async(ChangeState.Request(transition=configure))
    tools.wait_for(lambda: "building the engines" in node.output)
    # The model is not opened as long as the file is there.
    assert node.stop(signal.SIGINT) == 0
    assert "Traceback" not in node.output


@pytest.mark.parametrize("autostart", [True, False])
def test_build_only_opens_the_model_and_ends(start, tools, tmp_path, autostart):
    node, _ = start("building", build_only=True, autostart=autostart)
    assert node.wait() == 0
    assert "backend onnxruntime" in node.output and "looking at" not in node.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_build_only_that_is_interrupted_ends_with_code_1(start, tools, tmp_path, number):
    node, _ = start(f"unfinished_{number}", "slow", build_only=True)
    tools.wait_for(lambda: "building the engines" in node.output)
    assert node.stop(number) == 1 and "Traceback" not in node.output


def test_build_only_fails_with_code_1_and_one_sentence(start, tools, tmp_path):
    (tmp_path / "room").write_text("0")
    node, _ = start("failing", build_only=True)
    assert node.wait() == 1
    assert node.output.count("no memory left") == 1 and "Traceback" not in node.output
