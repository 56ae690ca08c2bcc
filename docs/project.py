"""A reader's project: files in a folder, and pytest run there, in this process because that takes a tenth of the time."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest

# Neither what the reader may have installed beside ours, nor files that a second run within the second would take for its own
OPTIONS = ["-q", "-p", "no:doctest", "-p", "no:cacheprovider", "-p", "no:warnings", "--capture=sys", "--tb=short", "--color=no"]
OTHERS = ["randomly", "asyncio", "xdist", "hypothesispytest", "platformdirs"]


class Project(TemporaryDirectory[str]):
    """A folder, which is gone when `cleanup` is called."""

    def __init__(self, **files: str) -> None:
        super().__init__(prefix="project-")
        self.folder = Path(self.name).resolve()
        self.write(**files)

    def write(self, **files: str) -> None:
        """Write each file, `test_shop="..."` being test_shop.py."""
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text)

    def pytest(self, *arguments: str, others: tuple[str, ...] = ()) -> str:
        """Return pytest's output, without the time; of other plugins, only `others` are loaded."""
        left_out = [argument for other in OTHERS if other not in others for argument in ("-p", f"no:{other}")]
        with contextlib.redirect_stdout(io.StringIO()) as printed, self._alone():
            pytest.main([*OPTIONS, *left_out, f"--rootdir={self.folder}", *arguments])
        said = printed.getvalue().replace("mail from:", "mail FROM:").replace("rcpt to:", "rcpt TO:")  # as smtplib before 3.13 has it
        return re.sub(r" in [\d.]+s\b", "", said).rstrip()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Run in the folder, and restore this process afterwards."""
        modules = dict(sys.modules)
        process = mock.patch.multiple(sys, path=list(sys.path), dont_write_bytecode=True)
        with contextlib.chdir(self.folder), process, mock.patch.dict(os.environ, COLUMNS="80"):
            for name in ("CI", "BUILD_NUMBER"):  # pytest tells more where one of them is set
                os.environ.pop(name, None)
            yield
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(self.folder)):
                del sys.modules[name]
        sys.modules.update(modules)
