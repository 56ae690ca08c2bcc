"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of `package`, whose names have these modules below lmtpref as their homes.

    A home that ends with a colon is a module, and the name stands for that module.
    """
    module = sys.modules[package]

    def find(name: str) -> object:
        """Return a public name, imported now."""
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module(f"lmtpref.{homes[name].removesuffix(':')}")
        value: object = home if homes[name].endswith(":") else getattr(home, name)
        setattr(module, name, value)  # later uses skip this function
        return value

    def names() -> list[str]:
        """Return the public names too, imported or not."""
        return sorted({*vars(module), *homes})

    return find, names
