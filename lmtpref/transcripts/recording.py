"""A recording of a conversation as a transcript."""

from __future__ import annotations

from collections.abc import Iterator

from lmtpref.transcripts.notation import Who, written

_CRLF = b"\r\n"


class Recording:
    """The octets of one connection; `str` of it is a transcript that can be parsed and played.

    A line is placed where its end came, so the client's lines between two replies are those that came between them, in one
    write or in several.
    """

    def __init__(self) -> None:
        self._said: list[tuple[Who, bytes]] = []
        self._closed: Who | None = None

    def add(self, who: Who, octets: bytes) -> None:
        """Record octets of one side."""
        self._said.append((who, bytes(octets)))

    def close(self, who: Who) -> None:
        """Note that one side has closed the connection; only the first one counts."""
        self._closed = self._closed or who

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        unfinished: dict[Who, bytes] = {"S": b"", "C": b""}
        for who, octets in list(self._said):
            *lines, unfinished[who] = (unfinished[who] + octets).split(_CRLF)
            yield from (written(who, line + _CRLF) for line in lines)
        yield from (written(who, rest) for who, rest in unfinished.items() if rest)
        if self._closed:
            yield f"{self._closed}: <close>"
