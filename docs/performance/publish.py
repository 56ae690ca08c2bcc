"""The common part of the measuring scripts: run them and write their results beside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from postfix_tools import MissingToolError

HERE = Path(__file__).parent

Results = dict[str, Any]
Drawing = Callable[[Results], str]  # results as reStructuredText, or as SVG


def publish(script: str, measure: Callable[[], Results], table: Drawing, plots: Mapping[str, Drawing], *, only_print: bool = False) -> int:
    """Measure, print the table, and write SCRIPT.json, SCRIPT.inc and each plot; return 2 if a tool is missing.

    With `only_print`, write no file.
    """
    try:
        results = measure()
    except MissingToolError as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 2
    print(table(results))
    if only_print:
        return 0
    (HERE / f"{script}.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / f"{script}.inc").write_text(table(results))
    for name, plot in plots.items():
        (HERE / f"{name}.svg").write_text(plot(results))
    return 0
