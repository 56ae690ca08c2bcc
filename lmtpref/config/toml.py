"""TOML files, and the search for the line of an error."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from lmtpref.protocol.errors import ConfigurationError

# Python's int() reads 4,300 digits.
_TOO_MANY_DIGITS = re.compile(r"[0-9](?:_?[0-9]){4300}")
_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")


def read_text(path: Path) -> str:
    """Return the text of the file `path`, without a byte order mark.  Raises ConfigurationError if it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("cannot be read: not UTF-8", file=path, line=line) from None
    except (OSError, ValueError) as error:  # ValueError: not a valid path
        problem = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"cannot be read: {problem}", file=path) from None


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of the file `path`, and its data.  Raises ConfigurationError, with the line, for invalid TOML."""
    text = read_text(path)
    try:
        return text, tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError("nested too deeply", file=path) from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+)", str(error))
        raise ConfigurationError(str(error), file=path, line=int(at[1]) if at else None) from None
    except ValueError:  # of int()
        digits = _TOO_MANY_DIGITS.search(text)
        line = text.count("\n", 0, digits.start()) + 1 if digits else None
        raise ConfigurationError("a number has too many digits", file=path, line=line) from None


class TomlFile:
    """A parsed TOML file, whose errors are reported with file, line and key.

    Raises ConfigurationError: if the file cannot be read, or is not TOML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text, self.data = read_toml(path)

    def error(self, problem: str, header: str | None, *, key: str) -> ConfigurationError:
        """Return the error for a key of the table `header` (see `line_of`)."""
        return ConfigurationError(problem, file=self.path, line=line_of(self.text, header, key), key=key)


def line_of(text: str, header: str | None, key: str) -> int | None:
    """Return the number of the line on which `key` is set, as far as a search by line can find it; else None.

    `header` is the table: "server", "list 0" for the first [[list]], or None for the top of the file.  If the key is not
    found, return the line of the header.
    """
    wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    seen: Counter[str] = Counter()
    here, begin = None, None
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            here = match[2]
            if match[1] == "[[":
                here = f"{match[2]} {seen[match[2]]}"
                seen[match[2]] += 1
            begin = number if here == header or (header is None and match[2] == key) else begin
        elif here == header and wanted.match(line):
            return number
    return begin
