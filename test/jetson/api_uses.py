"""Which names of a compiled module a source file uses, found by following its objects.

An object's class is known if it is annotated with one, made by a constructor, returned by a method
whose docstring says so, kept in an attribute, or if it is ``Any``, looped over or one of several
and has one of the names that are always used for one kind of object.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jetson.api_description import Api, Member

MODULE = "(module)"


@dataclass(frozen=True)
class Thing:
    """What an expression is, and the member it was got as."""

    kind: str  # "module", "class", "object", or "method" and whatever else can be called
    name: str = ""
    member: Member | None = None


@dataclass(frozen=True)
class Use:
    """A name of the module's API in a source file; ``within`` is the class around it."""

    file: str
    line: int
    within: str
    owner: str
    name: str
    problem: str = ""

    @property
    def qualified(self) -> str:
        return self.name if self.owner == MODULE else f"{self.owner}.{self.name}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.qualified} {self.problem}".rstrip()


@dataclass
class Uses:
    """All of a file.

    Attributes:
        api: uses of the module's names.
        unknown: (line, name) of attributes of objects whose class is not known.
        subclasses: the module's class and the methods defined, for each subclass of one.
        guards: names that are asked for with ``hasattr`` or ``getattr``.
    """

    api: list[Use] = field(default_factory=list)
    unknown: list[tuple[int, str]] = field(default_factory=list)
    subclasses: list[tuple[str, set[str]]] = field(default_factory=list)
    guards: set[str] = field(default_factory=set)


def find_uses(
    source: str, file: str, api: Api, modules: set[str], usual_names: Mapping[str, str]
) -> Uses:
    """Follow the API's objects through a source file.

    Args:
        modules: what the module is called in sources ("trt"), also functions that return it.
        usual_names: class by the name of an argument that is annotated ``Any``.
    """
    tree = ast.parse(source)
    finder = _Finder(file, api, modules, usual_names)
    # Twice: an attribute may be used in the source before the place that says what it is.
    finder.visit(tree)
    finder.uses = Uses()
    finder.visit(tree)
    return finder.uses


def find_uses_in(path: Path, api: Api, modules: set[str], usual_names: Mapping[str, str]) -> Uses:
    """:func:`find_uses` of a file."""
    return find_uses(path.read_text(encoding="utf-8"), path.name, api, modules, usual_names)


class _Finder(ast.NodeVisitor):
    def __init__(
        self, file: str, api: Api, modules: set[str], usual_names: Mapping[str, str]
    ) -> None:
        self.uses = Uses()
        self._file, self._api = file, api
        self._modules, self._usual = modules, usual_names
        self._scopes: list[dict[str, Thing | None]] = [{}]
        self._attributes: dict[str, dict[str, Thing]] = {}
        self._bases: dict[str, list[str]] = {}
        self._class = ""
        self._imported: set[str] = set()

    # Definitions.

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [self._thing(base) for base in node.bases]
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        for base in bases:
            if base is not None and base.kind == "class":
                self.uses.subclasses.append((base.name, methods))
        self._bases[node.name] = [item.id for item in node.bases if isinstance(item, ast.Name)]
        outer, self._class = self._class, node.name
        for item in node.body:
            self.visit(item)
        self._class = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = node.args
        scope: dict[str, Thing | None] = {}
        for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            scope[item.arg] = self._annotated(item.annotation, item.arg)
        for decorator in node.decorator_list:
            self.visit(decorator)
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.visit(default)
        self._scopes.append(scope)
        for statement in node.body:
            self.visit(statement)
        self._scopes.pop()

    def _annotated(self, annotation: ast.expr | None, name: str) -> Thing | None:
        if annotation is None:
            return None
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        if isinstance(annotation, ast.Name) and annotation.id == "Any":
            if name in self._modules:
                return Thing("module")
            usual = self._usual.get(name)
            return None if usual is None else Thing("object", usual)
        thing = self._thing(annotation)
        if thing is not None and thing.kind == "class":
            return Thing("object", thing.name)
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for item in node.names:
            name = item.asname or item.name
            if item.name in self._modules or name in self._modules:
                self._bind(ast.Name(name), Thing("module"))

            else:
                self._imported.add(name)

    def visit_Import(self, node: ast.Import) -> None:
        for item in node.names:
            name = item.asname or item.name.partition(".")[0]
            if name in self._modules:
                self._bind(ast.Name(name), Thing("module"))
            else:
                self._imported.add(name)

    # Bindings.

    def visit_Assign(self, node: ast.Assign) -> None:
        thing = self._thing(node.value)
        for target in node.targets:
            self._bind(target, thing)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        name = node.target.id if isinstance(node.target, ast.Name) else ""
        thing = self._annotated(node.annotation, name)
        value = None if node.value is None else self._thing(node.value)
        self._bind(node.target, thing or value)

    def _bind(self, target: ast.expr, thing: Thing | None) -> None:
        if isinstance(target, ast.Name):
            self._scopes[-1][target.id] = thing
        elif isinstance(target, ast.Attribute) and _is_self(target.value):
            # None is what an attribute is set to when it is released.
            if thing is not None:
                self._attributes.setdefault(self._class, {})[target.attr] = thing
        elif isinstance(target, (ast.Tuple, ast.List)):
            for item in target.elts:
                self._bind(item, None)
        else:
            self.visit(target)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._bind_usual(node.target)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.visit(node.iter)
        self._bind_usual(node.target)
        for condition in node.ifs:
            self.visit(condition)

    def _bind_usual(self, target: ast.expr) -> None:
        """Of what is looped over nothing is known but the name."""
        for item in ast.walk(target):
            if isinstance(item, ast.Name):
                usual = self._usual.get(item.id)
                self._bind(item, None if usual is None else Thing("object", usual))

    # Uses.

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, node.key, node.value)

    def _comprehension(self, generators: list[ast.comprehension], *elements: ast.expr) -> None:
        """What is looped over comes after the element in the source, but is bound before it."""
        self._scopes.append({})
        for generator in generators:
            self.visit(generator)
        for element in elements:
            self.visit(element)
        self._scopes.pop()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._thing(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._thing(node)

    def _thing(self, node: ast.expr) -> Thing | None:
        """What an expression is; visits all of it."""
        if isinstance(node, ast.Name):
            if node.id in self._modules:
                return Thing("module")
            return next((scope[node.id] for scope in self._scopes[::-1] if node.id in scope), None)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.BoolOp):
            things = [self._thing(value) for value in node.values]
            return next((thing for thing in things if thing is not None), None)
        if isinstance(node, ast.IfExp):
            self.visit(node.test)
            first, second = self._thing(node.body), self._thing(node.orelse)
            return first or second
        self.generic_visit(node)
        if isinstance(node, ast.Subscript):  # one of self._contexts
            usual = self._usual.get(_last(node.value).strip("_")[:-1])
            return None if usual is None else Thing("object", usual)
        return None

    def _attribute(self, node: ast.Attribute) -> Thing | None:
        if _is_self(node.value):
            found = self._own(self._class, node.attr)
            if found is not None:
                return found
        base = self._thing(node.value)
        if base is None or base.kind == "method":
            if not _is_self(node.value) and _root(node) not in self._imported:
                self.uses.unknown.append((node.lineno, node.attr))
            return None
        owner = MODULE if base.kind == "module" else base.name
        if base.kind == "module":
            members = self._api.module
        else:
            members = self._api.classes.get(base.name, {})
        member = members.get(node.attr)
        problem = "" if member is not None else "is not in this version"
        if not node.attr.startswith("__"):
            use = Use(self._file, node.lineno, self._class, owner, node.attr, problem)
            self.uses.api.append(use)
        if member is None:
            return Thing("object", node.attr if owner == MODULE else f"{owner}.{node.attr}")
        if member.is_class is not None:
            return Thing("class", member.is_class, member)
        if member.signatures or member.type is None:
            return Thing("method", node.attr, member)
        return Thing("object", member.type, member)

    def _own(self, owner: str, name: str) -> Thing | None:
        """An attribute of self, also of the classes it derives from in this file."""
        found = self._attributes.get(owner, {}).get(name)
        for base in [] if found is not None else self._bases.get(owner, []):
            found = found or self._own(base, name)
        return found

    def _call(self, node: ast.Call) -> Thing | None:
        for argument in (*node.args, *(item.value for item in node.keywords)):
            self._thing(argument)
        if isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
            asked = node.args[1]
            if isinstance(asked, ast.Constant):
                self.uses.guards.add(str(asked.value))
        called = self._thing(node.func)
        if called is None:
            return None
        if called.kind == "module":  # import_tensorrt()
            return called
        self._check_arguments(node, called)
        if called.kind == "class":
            return Thing("object", called.name)
        type_name = None if called.member is None else called.member.type
        return None if type_name is None else Thing("object", type_name)

    def _check_arguments(self, node: ast.Call, called: Thing) -> None:
        signatures = () if called.member is None else called.member.signatures
        unpacked = any(isinstance(item, ast.Starred) for item in node.args)
        if not signatures or unpacked or any(item.arg is None for item in node.keywords):
            return
        keywords = tuple(item.arg for item in node.keywords if item.arg is not None)
        if any(item.takes(len(node.args), keywords) for item in signatures):
            return
        wanted = " or ".join("({})".format(", ".join(item.arguments)) for item in signatures)
        given = "({})".format(", ".join([*("?" * len(node.args)), *keywords]))
        problem = f"is called with {given}, takes {wanted}"
        self.uses.api.append(replace(self.uses.api.pop(), problem=problem))


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _root(node: ast.expr) -> str:
    """The first name of ``a.b.c``."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _last(node: ast.expr) -> str:
    """The last name of ``a.b.c``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
