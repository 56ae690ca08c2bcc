"""Mutations of Python source: small changes that an example should notice, each at one place of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

OPPOSITES: dict[type[ast.AST], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.And: "or",
    ast.Or: "and",
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "//",
    ast.FloorDiv: "*",
    ast.Div: "*",
    ast.BitOr: "&",
    ast.BitAnd: "|",
}
# Source without effect on behaviour: types, and text that only a debugger or a type checker reads.
SILENT_CALLS = {"cast", "TypeVar", "getLogger"}


class Change(NamedTuple):
    """A node of the source, and the text to put in its place."""

    node: ast.expr | ast.stmt
    text: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change: where it is, the line that it is in, what stood there, what stands there now, and the whole text."""

    path: str
    line: int
    source: str
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        """Return a line for reports."""
        return f"{self.path}:{self.line}: {' '.join(self.before.split())[:70]}  ->  {' '.join(self.after.split())[:70]}"


def mutants(path: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    octets = text.encode()
    starts = [0, *accumulate(len(line) for line in octets.splitlines(keepends=True))]
    for node, after in _changes(ast.parse(text)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        before = octets[start:end].decode()
        if before != after:
            source = text.splitlines()[node.lineno - 1].strip()
            yield Mutant(path, node.lineno, source, before, after, (octets[:start] + after.encode() + octets[end:]).decode())


def _changes(node: ast.AST) -> Iterator[Change]:
    """Yield the changes of a node and of all below it, except where they could not matter."""
    yield from _changes_of(node)
    for child in _children(node):
        yield from _changes(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below `node` that say something about behaviour."""
    if isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SILENT_CALLS:
        return
    # docs/contributing.rst reads every `__all__`, which no page reaches by a line of its own.
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_docstring(child):
                yield child


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes_of(node: ast.AST) -> Iterator[Change]:
    """Yield the changes of one node."""
    if isinstance(node, ast.stmt):
        yield from _changes_of_statement(node)
    match node:
        case ast.If(test) | ast.While(test) | ast.IfExp(test):
            yield Change(test, f"(not ({ast.unparse(test)}))")
        case ast.Compare(left, [operator], [right]):
            yield Change(node, f"({ast.unparse(left)} {OPPOSITES[type(operator)]} {ast.unparse(right)})")
        case ast.BoolOp(operator, values):
            yield Change(node, "(" + f" {OPPOSITES[type(operator)]} ".join(f"({ast.unparse(value)})" for value in values) + ")")
        case ast.BinOp(left, operator, right) if type(operator) in OPPOSITES:
            yield Change(node, f"(({ast.unparse(left)}) {OPPOSITES[type(operator)]} ({ast.unparse(right)}))")
        case ast.UnaryOp(ast.Not(), operand):
            yield Change(node, f"({ast.unparse(operand)})")
        case ast.Constant(value):
            yield from (Change(node, text) for text in _constants(value))
        case ast.Call():
            yield from _without_keywords(node)


def _changes_of_statement(node: ast.stmt) -> Iterator[Change]:
    match node:
        case ast.Return(ast.expr() as value):
            yield Change(node, f"return {'True' if ast.unparse(value) == 'None' else 'None'}")
        case ast.Expr(ast.Call() | ast.Await()) | ast.Raise() | ast.Break() | ast.AugAssign() | ast.Delete():
            yield Change(node, "pass")
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield Change(node, "pass")
        case ast.Continue():
            yield Change(node, "break")


def _constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield repr(not value)
    elif isinstance(value, int | float):
        yield repr(value + 1)
    elif isinstance(value, str):
        yield repr(value + "x")
    elif isinstance(value, bytes):
        yield repr(value + b"x")


def _without_keywords(call: ast.Call) -> Iterator[Change]:
    """Yield the call without each of its named arguments."""
    for keyword in call.keywords:
        if keyword.arg is not None:
            rest = [other for other in call.keywords if other is not keyword]
            yield Change(call, ast.unparse(ast.Call(func=call.func, args=call.args, keywords=rest)))
