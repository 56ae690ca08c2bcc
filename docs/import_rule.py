"""The checks of imports on `docs/layout.rst`: modules that import one that their ring may not, and circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path


def broken(root: Path, may_import: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield a line for each import that the rule does not allow."""
    for path in sorted(root.rglob("*.py")):
        importer = ".".join(path.relative_to(root).with_suffix("").parts)
        for name in _imports(path, root):
            if _ring(name, root) not in may_import[_ring(importer, root)]:
                yield f"{importer} imports {name}"


def circles(root: Path) -> list[str]:
    """Return the modules of a circle of imports; empty if there is none."""
    imported: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*.py")):
        module = _module(".".join(path.relative_to(root).with_suffix("").parts), root)
        imported.setdefault(module, set()).update({_module(name, root) for name in _imports(path, root)} - {module})
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _module(name: str, root: Path) -> str:
    """Return the module that a name is, or is from; a package stands for its `__init__`."""
    parts = name.removesuffix("__init__").rstrip(".").split(".")
    while parts and not ((path := root.joinpath(*parts)).is_dir() or path.with_suffix(".py").is_file()):
        parts.pop()
    return ".".join(parts) or "__init__"


def _imports(path: Path, root: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports, by their names within it."""
    here = [root.name, *path.relative_to(root).parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*here[: len(here) - node.level], *filter(None, [node.module])]) if node.level else node.module
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == root.name:
                yield name.partition(".")[2] or "__init__"


def _ring(name: str, root: Path) -> str:
    """Return the row of the table that a module belongs to."""
    first = name.partition(".")[0]
    return first if (root / first).is_dir() or (root / f"{first}.py").is_file() else "__init__"
