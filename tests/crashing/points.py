"""Makes every statement of the engine's functions a point at which something can be done.

The product knows nothing of it: an import hook rewrites the modules as they are loaded, so that each
statement is preceded by a call that counts. Owns the rewriting and the counting; what happens at a
point, and in which process, is somebody else's.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

PACKAGE = "flask_smtp_admin."
ENGINE = (
    "bulk",
    "connections.health",
    "database",
    "delivery",
    "direct",
    "host_database",
    "mail",
    "models.transition",
    "outbox",
    "routing",
    "smtp.conversation",
    "smtp.sending",
    "smtp.session",
    "smtp.wire",
    "worker",
)
"""The modules that a message passes on its way, and the packages whose modules all are."""
_CALL = "__point__"


@dataclass(frozen=True)
class Site:
    """Where a point is: module and function as in ``delivery.lane:Lane.run``, and the line."""

    function: str
    line: int

    def __str__(self) -> str:
        return f"{self.function}, line {self.line}"


class Points:
    """All points of the modules that were loaded, and which of them this process has passed."""

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.passed: list[int] = []
        """In the order of their first passage."""
        self._seen: set[int] = set()
        self._target: int | None = None
        self._act: Callable[[], object] = lambda: None

    def add(self, site: Site) -> int:
        """Make a new point and return its number."""
        self.sites.append(site)
        return len(self.sites) - 1

    def pass_(self, number: int) -> None:
        """Called before each statement. Only the first passage of a point counts."""
        if number in self._seen:
            return
        self._seen.add(number)
        self.passed.append(number)
        if number == self._target:
            self._act()

    def begin(self, target: int | None, act: Callable[[], object]) -> None:
        """Count from here on, and do something as soon as the point ``target`` is reached."""
        self._seen.clear()
        self.passed.clear()
        self._target, self._act = target, act


def install(points: Points) -> None:
    """Have the engine's modules loaded with points. None of them may have been imported yet."""
    early = [name for name in sys.modules if _is_engine(name)]
    assert not early, f"imported too early: {early}"
    sys.meta_path.insert(0, _Finder(points))


def _is_engine(name: str) -> bool:
    if not name.startswith(PACKAGE):
        return False
    inner = name.removeprefix(PACKAGE)
    return any(inner == one or inner.startswith(f"{one}.") for one in ENGINE)


class _Finder(MetaPathFinder):
    def __init__(self, points: Points) -> None:
        self._points = points

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_engine(name):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin, self._points)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, points: Points) -> None:
        super().__init__(name, path)
        self._points = points

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source anew: what lies in the cache has no points."""
        tree = ast.parse(self.get_data(self.path), self.path)
        _Inserter(fullname.removeprefix(PACKAGE), self._points).visit(tree)
        code: CodeType = compile(ast.fix_missing_locations(tree), self.path, "exec")
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[_CALL] = self._points.pass_
        super().exec_module(module)


class _Inserter(ast.NodeTransformer):
    """Puts a call before each statement of a function, as deep as they are nested."""

    def __init__(self, module: str, points: Points) -> None:
        self._module = module
        self._points = points
        self._names: list[str] = []
        self._inside = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._named(node, inside=False)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._named(node, inside=True)

    def _named(self, node: ast.ClassDef | ast.FunctionDef, *, inside: bool) -> ast.AST:
        outer, self._inside = self._inside, inside
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()
        self._inside = outer
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        found = super().generic_visit(node)
        if self._inside:
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if isinstance(block, list):
                    setattr(node, name, self._with_points(block))
        return found

    def _with_points(self, block: list[Any]) -> list[Any]:
        return [new for old in block for new in (*self._point(old), old)]

    def _point(self, statement: Any) -> list[ast.stmt]:
        if not isinstance(statement, ast.stmt) or _is_docstring(statement):
            return []
        if isinstance(statement, (ast.Nonlocal, ast.Global)):
            return []
        number = self._points.add(Site(f"{self._module}:{'.'.join(self._names)}", statement.lineno))
        call = ast.Expr(ast.Call(ast.Name(_CALL, ast.Load()), [ast.Constant(number)], []))
        return [ast.copy_location(call, statement)]


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
