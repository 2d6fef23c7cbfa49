"""The public names of a compiled module, with the classes and arguments that its docstrings tell.

pybind11 (TensorRT) and Boost.Python (pycuda) write every signature into the docstring, so a module
can be described without calling anything in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Signature:
    """Arguments of one overload, without ``self``; the first ``required`` have no default."""

    arguments: tuple[str, ...]
    required: int

    def takes(self, positional: int, keywords: tuple[str, ...]) -> bool:
        rest = self.arguments[positional:]
        missing = set(self.arguments[positional : self.required]) - set(keywords)
        return positional <= len(self.arguments) and set(keywords) <= set(rest) and not missing


@dataclass(frozen=True)
class Member:
    """A name in a module or class.

    Attributes:
        is_class: the class it is.
        type: the class of its value, or of what a call returns; None if that is not told.
        signatures: empty if they are not told.
    """

    is_class: str | None = None
    type: str | None = None
    signatures: tuple[Signature, ...] = ()


@dataclass
class Api:
    """A module's names; ``classes`` by qualified name ("ILogger.Severity")."""

    module: dict[str, Member] = field(default_factory=dict)
    classes: dict[str, dict[str, Member]] = field(default_factory=dict)

    def overridable(self, name: str) -> list[str]:
        """The methods of a class."""
        members = self.classes[name].items()
        return [key for key, item in members if item.signatures and item.is_class is None]


def describe(module: Any) -> Api:
    """All public names of a module, and those of its classes."""
    api = Api()
    for name in dir(module):
        if not name.startswith("_"):
            api.module[name] = _member(api, getattr(module, name), name)
    known = set(api.classes)
    for names in (api.module, *api.classes.values()):
        for key, member in names.items():
            if member.type is not None and member.type not in known:
                names[key] = Member(member.is_class, None, member.signatures)
    return api


def _member(api: Api, value: Any, path: str) -> Member:
    if isinstance(value, type):
        if path not in api.classes:
            api.classes[path] = {}
            for name in dir(value):
                if not name.startswith("_"):
                    inner = getattr(value, name)
                    api.classes[path][name] = _member(api, inner, f"{path}.{name}")
        constructor = getattr(value.__init__, "__doc__", None) or ""
        return Member(path, path, _signatures(constructor, "__init__"))
    if isinstance(value, property):
        return Member(None, _returned(getattr(value.fget, "__doc__", None) or ""))
    owner = path.rpartition(".")[0]
    if owner and type(value).__name__ == owner.rpartition(".")[2]:
        return Member(None, owner)  # of an enumeration
    text = getattr(value, "__doc__", None) or ""
    if callable(value):
        return Member(None, _returned(text), _signatures(text, path.rpartition(".")[2]))
    return Member()


def _returned(docstring: str) -> str | None:
    found = re.search(r"->\s*([\w.:]+)", docstring)
    if found is None:
        return None
    # What has no Python name yet where the docstring is made has its C++ one:
    # nvonnxparser::IParserError.
    return re.sub(r"^(tensorrt\.)+|^\w+::I?", "", found.group(1))


def _signatures(docstring: str, name: str) -> tuple[Signature, ...]:
    """Those that pybind11 writes; Boost.Python's are left out."""
    found = []
    for line in docstring.splitlines():
        match = re.match(rf"\s*(?:\d+\. )?{re.escape(name)}\((.*)\)\s*->", line)
        if match is None or ":" not in match.group(1) or "args, **kwargs" in line:
            continue
        arguments = [part.strip() for part in _split(match.group(1))]
        if arguments and arguments[0].startswith("self:"):
            arguments = arguments[1:]
        names = tuple(part.partition(":")[0].strip() for part in arguments)
        found.append(Signature(names, sum("=" not in part for part in arguments)))
    return tuple(found)


def _split(text: str) -> list[str]:
    """At the commas that are within no bracket."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]] if text.strip() else []
