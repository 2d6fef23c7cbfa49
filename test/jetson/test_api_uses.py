"""The conformance check itself: on sources with a mistake in them, against an API made by hand."""

from __future__ import annotations

import pytest
from jetson.api_description import Api, Member, Signature, describe
from jetson.api_uses import find_uses

API = Api(
    module={
        "Builder": Member("Builder", "Builder", (Signature(("logger",), 1),)),
        "Flag": Member("Flag", "Flag"),
        "ILogger": Member("ILogger", "ILogger"),
    },
    classes={
        "Builder": {
            "create_network": Member(None, "Network", (Signature(("flags",), 0),)),
            "num_cores": Member(),
        },
        "Network": {
            "get_input": Member(None, "Tensor", (Signature(("index",), 1),)),
            "mark": Member(None, None, (Signature(("tensor", "name"), 1),)),
        },
        "Tensor": {"shape": Member(), "kind": Member(None, "Flag")},
        "Flag": {"FP16": Member(None, "Flag")},
        "ILogger": {"log": Member(None, None, (Signature(("severity", "msg"), 2),))},
    },
)
USUAL = {"network": "Network", "tensor": "Tensor"}


def uses(source):
    return find_uses(source, "x.py", API, {"trt", "import_trt"}, USUAL)


def problems(source):
    return [item.qualified for item in uses(source).api if item.problem]


RIGHT = """
import trt
from typing import Any
class Maker(trt.ILogger):
    def __init__(self):
        self.builder = trt.Builder(self)
        self.flag = trt.Flag.FP16
    def log(self, severity, msg):
        return self.builder.num_cores
    def make(self):
        network = self.builder.create_network(0)
        return [tensor.shape for tensor in network.unknown_list] if self.flag.FP16 else []
def use(network: Any, other):
    for index in range(3):
        one = network.get_input(index)
        network.mark(one, name=other.name)
    return one.kind.FP16, network.get_input(index=0).shape, other.tensors[0].kind
"""


def test_names_are_found_through_arguments_attributes_results_and_loops():
    found = uses(RIGHT)
    assert {item.qualified for item in found.api if not item.problem} == {
        "ILogger", "Builder", "Flag", "Flag.FP16", "Builder.num_cores", "Builder.create_network",
        "Tensor.shape", "Network.get_input", "Network.mark", "Tensor.kind",
    }  # fmt: skip
    assert [item.qualified for item in found.api if item.problem] == ["Network.unknown_list"]
    assert [name for _, name in found.unknown] == ["name", "tensors"]
    assert found.subclasses == [("ILogger", {"__init__", "log", "make"})]
    assert {item.within for item in found.api} == {"Maker", ""}


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("trt.Builder(", "trt.Bilder(", "Bilder"),
        ("trt.Flag.FP16", "trt.Flag.FP61", "Flag.FP61"),
        (".num_cores", ".num_kores", "Builder.num_kores"),
        ("tensor.shape for", "tensor.shapes for", "Tensor.shapes"),
        ("network.mark(", "network.marks(", "Network.marks"),
        ("one.kind", "one.kinds", "Tensor.kinds"),
        ("one.kind.FP16", "one.kind.INT8", "Flag.INT8"),
        ("create_network(0)", "create_network(0, 1)", "Builder.create_network"),
        ("Builder(self)", "Builder()", "Builder"),
        ("name=other.name", "label=other.name", "Network.mark"),
        ("index=0).shape", "index=0).size", "Tensor.size"),
        ("tensors[0].kind", "tensors[0].sort", "Tensor.sort"),
    ],
)
def test_a_wrong_name_or_argument_is_told(right, wrong, named):
    assert right in RIGHT
    assert named in problems(RIGHT.replace(right, wrong))


def test_a_name_on_an_object_of_an_unknown_class_is_listed():
    source = "def use(thing, trt):\n    thing.num_bidnings\n    return thing.other().more"
    assert [name for _, name in uses(source).unknown] == ["num_bidnings", "other", "more"]


def test_the_module_can_come_from_a_function_and_as_an_argument():
    source = (
        "from typing import Any\nmodule = import_trt()\n"
        "def f(trt: Any):\n    return trt.No\nmodule.Not"
    )
    assert problems(source) == ["No", "Not"]


def test_what_is_asked_for_first_is_a_guard():
    assert uses(
        "def f(trt, x):\n    return hasattr(trt, 'New') or getattr(x, 'old', 1)"
    ).guards == {
        "New",
        "old",
    }


def test_signatures_are_read_from_docstrings():
    class Engine:
        def get_shape(self):
            """get_shape(self: m.Engine, name: str, spans: Tuple[int, int] = (1, 2)) -> m.Dims"""

        @property
        def count(self):
            """(arg0: m.Engine) -> int"""

    class Module:
        pass

    Module.Engine = Engine
    api = describe(Module)
    signature = Signature(("name", "spans"), 1)
    assert api.classes["Engine"]["get_shape"].signatures == (signature,)
    assert api.overridable("Engine") == ["get_shape"]
    assert [signature.takes(count, ()) for count in range(4)] == [False, True, True, False]
    assert signature.takes(0, ("name",)) and not signature.takes(1, ("name",))
