"""The world: a mapping from the transcripts' addresses to those of a target."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmtpref.check.cases import RECIPIENTS, UNKNOWN, Case
from lmtpref.check.usage import command_lines, recipients, rejected
from lmtpref.config.toml import line_of, read_toml
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.transcripts.notation import Line, Step, Transcript

_ADDRESS = re.compile(r"[^\s<>]+")  # of the target; the addresses of local users may lack a domain


@dataclass(frozen=True, slots=True)
class World:
    """A mapping from addresses of the transcripts to addresses of the target; empty if the target has those of the transcripts.

    Raises UsageError if two addresses of the transcripts would become one.
    """

    addresses: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for address, target in self.addresses.items():
            if not _ADDRESS.fullmatch(target):
                raise UsageError(f"{target!r}, which stands for {address}, is not an address")
        if len({target.lower() for target in self.addresses.values()}) < len(self.addresses):
            raise UsageError("every address of the transcripts needs an address of its own")

    @classmethod
    def of(cls, recipients: Iterable[str] = (), unknown: str | None = None) -> World:
        """Return a world with up to three accepting recipients and one unknown address.

        Raises UsageError for more recipients than the transcripts have.
        """
        accepting = list(recipients)
        if len(accepting) > len(RECIPIENTS):
            raise UsageError(f"the transcripts have {len(RECIPIENTS)} recipients; {len(accepting)} were given")
        named = dict(zip(RECIPIENTS, accepting, strict=False))
        return cls({**named, **({UNKNOWN: unknown} if unknown else {})})

    @classmethod
    def load(cls, path: Path) -> World:
        """Return the world in a TOML file of `"address in the transcripts" = "address of the target"` lines.

        Raises ConfigurationError, naming file, line and key.
        """
        text, table = read_toml(path)
        for key, value in table.items():
            if not isinstance(value, str) or not _ADDRESS.fullmatch(value) or "@" not in key:
                line = line_of(text, None, key)
                raise ConfigurationError("an address of the target stands for an address of the transcripts", file=path, line=line, key=key)
        try:
            return cls(table)
        except UsageError as error:
            raise ConfigurationError(str(error), file=path) from None

    def missing(self, case: Case) -> str:
        """Return an address of `case` without a counterpart; empty if all have one, or the target has the transcripts' own."""
        used = (*recipients(case.transcript), *rejected(case.transcript)) if self.addresses else ()
        return next((address for address in used if address not in self.addresses), "")

    def spoken(self, transcript: Transcript) -> Transcript:
        """Return `transcript` with the target's addresses, in commands and replies; message content is unchanged."""
        if not self.addresses:
            return transcript
        commands = {line.number for line in command_lines(transcript)}
        steps = (replace(step, lines=tuple(self._line(line, commands, step) for line in step.lines)) for step in transcript.steps)
        return replace(transcript, steps=tuple(steps))

    def _line(self, line: Line, commands: set[int], step: Step) -> Line:
        if line.what != "say" or line.text.startswith("<raw") or (step.who == "C" and line.number not in commands):
            return line
        text = _pattern(self.addresses).sub(lambda match: self.addresses[match[0]], line.text)
        return replace(line, text=text, octets=text.encode() + b"\r\n")


def _pattern(addresses: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches any of `addresses`, but not inside a longer one."""
    alternatives = "|".join(map(re.escape, sorted(addresses, key=len, reverse=True)))
    return re.compile(rf"(?<![\w.+-])(?:{alternatives})(?![\w.-])")
