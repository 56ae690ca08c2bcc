"""Measurements: `python docs/performance` runs every measuring script here, `python docs/performance SCRIPT [ARGUMENT...]` one.

All together take less than a quarter of an hour on an idle machine, because each has fewer rounds than by itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# The scripts, each with its arguments in a run of all.
SCRIPTS = {
    "bench": ("--rounds", "3", "--seconds", "0.5", "--idle", "1000"),
    "curves": ("0.2", "1"),
    "sending": ("3",),
    "workers": ("0.5", "3"),
    "durable": ("0.4", "2"),
    "lookups": (),
    "delivery": ("1",),
}


def run(script: str, *arguments: str) -> int:
    """Run one script, and say how long it took; its exit code."""
    begun = time.monotonic()
    code = subprocess.run([sys.executable, str(HERE / f"{script}.py"), *arguments], check=False).returncode
    print(f"{script}: {time.monotonic() - begun:.0f} s", "" if code == 0 else f"and exit code {code}", file=sys.stderr)
    return code


def main(arguments: list[str]) -> int:
    """Run the requested scripts, by default all; return the highest exit code."""
    if arguments and arguments[0] not in SCRIPTS:
        print(f"SCRIPT is one of {', '.join(SCRIPTS)}", file=sys.stderr)
        return 2
    return run(*arguments) if arguments else max(run(script, *given) for script, given in SCRIPTS.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
