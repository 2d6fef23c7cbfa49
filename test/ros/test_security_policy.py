"""The SROS2 policy allows what the nodes really do; without that an enforced one stops them."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import Image

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2_policy.xml"
SETTING_TARGETS = {"/set_template", "/clear_template", "/detector/set_parameters"}


def allowed(name, kind, role):
    """Full names that a node may use: kind ``topic`` or ``service``, role ``publish`` ..."""
    found = set()
    for profile in ElementTree.parse(POLICY).iter("profile"):
        if profile.get("node") != name:
            continue
        for group in profile.findall(f"{kind}s"):
            if group.get(role) == "ALLOW":
                found |= {str(item.text) for item in group.findall(kind)}
    return {f"/{name}/{item[2:]}" if item.startswith("~/") else f"/{item}" for item in found}


def refused(names_and_types, allowances):
    names = {name for name, _ in names_and_types}
    return {n for n in names if not any(fnmatch(n, allowance) for allowance in allowances)}


@pytest.fixture(scope="module")
def graph(start_node, connect, start_module_console, tools):
    """A node that sees the others: detector, locate and a console that watches."""
    start_node()
    start_node(module="refdet_ros.locate")
    client = connect()
    camera = client.node.create_publisher(Image, "image", 1)
    start_module_console()
    services = client.node.get_client_names_and_types_by_node

    def ready():
        nodes = set(client.node.get_node_names())
        if not {"detector", "locate", "console"} <= nodes or not camera.get_subscription_count():
            return False
        return "/set_template" in {name for name, _ in services("console", "/")}

    tools.wait_for(ready, 120, "the nodes")
    return client.node


@pytest.fixture(scope="module")
def start_module_console(tmp_path_factory):
    from console_process import ConsoleProcess

    started = []
    yield lambda: started.append(ConsoleProcess(tmp_path_factory.mktemp("console")))
    for process in started:
        process.stop()


@pytest.mark.parametrize("name", ["detector", "locate", "console"])
def test_what_a_node_does_is_allowed(graph, name):
    publishes = graph.get_publisher_names_and_types_by_node(name, "/")
    subscribes = graph.get_subscriber_names_and_types_by_node(name, "/")
    offers = graph.get_service_names_and_types_by_node(name, "/")
    calls = graph.get_client_names_and_types_by_node(name, "/")
    assert publishes and offers
    assert refused(publishes, allowed(name, "topic", "publish")) == set()
    assert refused(subscribes, allowed(name, "topic", "subscribe")) == set()
    assert refused(offers, allowed(name, "service", "reply")) == set()
    assert refused(calls, allowed(name, "service", "request")) == set()


def test_only_the_console_may_set_targets():
    enclaves = ElementTree.parse(POLICY).iter("profile")
    may = {
        name
        for name in (str(profile.get("node")) for profile in enclaves)
        if SETTING_TARGETS & allowed(name, "service", "request")
    }
    assert may == {"console"}
