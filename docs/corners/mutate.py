"""Deliberate mistakes in the code, which the documents must notice: `python docs/corners/mutate.py COUNT SEED`.

Each mutant is a copy of the checkout with one small change (`mutations.py`).  The pages that reach the changed line are
played until one fails.  A mutant that all of them pass survived: an example is missing, or the change changes nothing.
The latter are listed in `mutate.toml`, each with the reason.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from coverage import CoverageData
from mutations import Mutant, mutants

TOP = Path(__file__).parents[2]
CACHE = TOP / "build" / "mutate.json"
SKIPPED = {"docs/mta/postfix.rst", "docs/mta/exim.rst", "docs/mta/sendmail.rst"}  # they need other programs
EXAMPLE_SECONDS = 30  # an example of a mutant that takes longer counts as failed
MEASURED_EXAMPLE_SECONDS = 120  # the same without a mutation, when coverage measures it and slows it down
START_SECONDS = 120  # for a run of pages, beside a multiple of what they took unchanged
SLOWER = 10
FIRST_PAGES = 3
PAGE_SECONDS = 5.0  # added to what a page takes when pages are put in order, so that none is first for being quick alone
NO_EXAMPLES = "exit code 5"
OPTIONS = "-q -x -p no:cacheprovider -o timeout={} -o faulthandler_timeout={}"


class Checkout:
    """A copy of the checkout in which pages can be played."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in files():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, folder / name)

    def play(self, command: list[str], pages: list[str], seconds: float, example_seconds: int = EXAMPLE_SECONDS) -> str:
        """Play pages until one fails; return its name, `timeout` if they took longer than `seconds`, or nothing if all passed."""
        environment = os.environ | {"PYTHONPATH": str(self.folder), "PYTEST_ADDOPTS": "", "COVERAGE_FILE": str(self.folder / ".coverage")}
        with subprocess.Popen(
            [sys.executable, "-m", *command, *OPTIONS.format(example_seconds, example_seconds + 5).split(), *pages],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                return "timeout"
        if process.returncode == 0:
            return ""
        failed = re.search(r"^(?:FAILED|ERROR) ((?:docs|README)\S*)", said, re.MULTILINE)
        return failed[1] if failed else f"exit code {process.returncode}"

    def put(self, path: str, text: str) -> None:
        """Write a module so that the next process compiles it again."""
        (self.folder / path).write_text(text)
        Path(importlib.util.cache_from_source(str(self.folder / path))).unlink(missing_ok=True)


class Reached:
    """Which lines each page reaches, and how long it takes; measured again when the code or the page has changed."""

    def __init__(self, checkout: Checkout) -> None:
        kept = json.loads(CACHE.read_text()) if CACHE.is_file() else {}
        CACHE.parent.mkdir(exist_ok=True)
        code = b"".join((TOP / name).read_bytes() for name in files() if not name.endswith(".rst"))
        self._pages: dict[str, dict[str, Any]] = {}
        for page in pages():
            state = hashlib.sha256(code + (TOP / page).read_bytes()).hexdigest()
            self._pages[page] = kept[page] if kept.get(page, {}).get("state") == state else self._measure(checkout, page) | {"state": state}
            CACHE.write_text(json.dumps(kept | self._pages))  # now, so that a run that was stopped goes on here

    @staticmethod
    def _measure(checkout: Checkout, page: str) -> dict[str, Any]:
        begun = time.monotonic()
        play = partial(checkout.play, ["coverage", "run", "-m", "pytest"], [page], 600, MEASURED_EXAMPLE_SECONDS)
        failed = play() and play()  # again, because other programs may have made it too slow
        seconds = time.monotonic() - begun
        if failed == NO_EXAMPLES:
            return {"seconds": seconds, "lines": {}}
        if failed:
            sys.exit(f"{page} fails without any mutation: {failed}")
        lines: dict[str, set[int]] = {}
        for file in checkout.folder.glob(".coverage*"):
            data = CoverageData(str(file))
            data.read()
            for name in data.measured_files():
                lines.setdefault(str(Path(name).relative_to(checkout.folder)), set()).update(data.lines(name) or ())
            file.unlink()
        print(f"{seconds:6.1f} s  {page}", file=sys.stderr)
        return {"seconds": seconds, "lines": {name: sorted(numbers) for name, numbers in lines.items()}}

    def pages(self, mutant: Mutant) -> list[str]:
        """Return the pages that reach a mutant's line: first the quick ones that reach lines of its module that few pages reach."""
        lines = {page: set(kept["lines"].get(mutant.path, ())) for page, kept in self._pages.items()}
        often = Counter(line for reached in lines.values() for line in reached)
        imported = {line for line, count in often.items() if count == sum(map(bool, lines.values()))}
        # A process may end before what its threads reach is noted: then any page that uses the module may notice.
        found = [page for page in lines if mutant.line in lines[page]] or [page for page in lines if lines[page] - imported]
        return sorted(found, key=lambda page: -sum(1 / often[line] for line in lines[page]) / (PAGE_SECONDS + self._pages[page]["seconds"]))

    def seconds(self, names: list[str]) -> float:
        """Return how long these pages take."""
        return float(sum(self._pages[page]["seconds"] for page in names))


def files() -> list[str]:
    """Return the names of the files that make up the checkout, sorted."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, text=True, check=True).stdout
    return sorted(name for name in listed.splitlines() if (TOP / name).is_file())


def pages() -> list[str]:
    """Return the documents that are played."""
    return [name for name in files() if name.endswith(".rst") and name.startswith(("docs/", "README")) and name not in SKIPPED]


def chosen(count: int, seed: str, only: tuple[str, ...] = ("lmtpref/",)) -> list[Mutant]:
    """Return `count` mutants, at most one on a line, of the modules whose path begins with one of `only`."""
    modules = [name for name in files() if name.startswith(only) and name.endswith(".py")]
    every = [mutant for name in modules for mutant in mutants(name, (TOP / name).read_text())]
    random.Random(seed).shuffle(every)  # noqa: S311 - so that a seed names the same mutants again
    by_line: dict[tuple[str, int], Mutant] = {}
    for mutant in every:
        by_line.setdefault((mutant.path, mutant.line), mutant)
    return list(by_line.values())[:count]


def equivalents() -> dict[tuple[str, str, str], str]:
    """Return the reasons why certain mutants need no example, by path, line and change; two readers agree on each."""
    listed = tomllib.loads((TOP / "docs/corners/mutate.toml").read_text())["equivalent"]
    return {(entry["path"], entry["line"], entry["after"]): entry["why"] for entry in listed if entry.get("confirmed")}


def played(checkout: Checkout, reached: Reached, mutant: Mutant) -> Iterator[str]:
    """Play the pages that reach a mutant, few at first, then ever more in one process; yield what each process noticed."""
    names, size = reached.pages(mutant), FIRST_PAGES
    while names:
        batch, names = names[:size], names[size:]
        yield checkout.play(["pytest"], batch, START_SECONDS + SLOWER * reached.seconds(batch))
        size *= 3


def verdicts(wanted: list[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """Yield each mutant with the example that noticed it, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder))
        reached = Reached(checkout)
        for mutant in wanted:
            checkout.put(mutant.path, mutant.text)
            yield mutant, next(filter(None, played(checkout, reached, mutant)), "")
            checkout.put(mutant.path, (TOP / mutant.path).read_text())


def main() -> int:
    """Print a line for each mutant and a summary; return 1 if one survived without a reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=20)
    parser.add_argument("seed", nargs="?", default=str(random.randrange(10**6)))  # noqa: S311 - printed, to be given again
    parser.add_argument("paths", nargs="*", default=["lmtpref/"], help="modules whose paths begin so")
    arguments = parser.parse_args()
    reasons, counts, survived = equivalents(), Counter[str](), []
    for mutant, noticed in verdicts(chosen(arguments.count, arguments.seed, tuple(arguments.paths))):
        known = (mutant.path, mutant.source, mutant.after) in reasons
        verdict = "noticed" if noticed else "equivalent" if known else "survived"
        counts[verdict] += 1
        survived += [mutant] if verdict == "survived" else []
        print(f"{noticed or verdict.upper()}  {mutant}", flush=True)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"\nseed {arguments.seed}: {counts.total()} mutants: {summary}", *survived, sep="\n")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
