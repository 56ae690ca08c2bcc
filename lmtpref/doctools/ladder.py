"""A transcript as a ladder, in HTML: a box for each write, each final reply tied to its recipient, and links.

Labels and captions are in attributes, which the style sheet shows, so the ladder's text is the unchanged transcript.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lmtpref.doctools.pairing import Pairs, Tie, pair
from lmtpref.transcripts.notation import Step, Transcript, parse

_LINKED = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class DrawnTurn:
    """Lines of one side, numbered from 1: the head, a write of the client, or replies of the server."""

    side: str
    lines: range


def turns(transcript: Transcript) -> Iterator[DrawnTurn]:
    """Yield the head lines, the client's writes, and the server's replies between them."""
    if transcript.heads:
        yield DrawnTurn("head", range(1, len(transcript.heads) + 1))
    waiting: list[Step] = []
    for step in transcript.steps:
        if step.who == "S":
            waiting.append(step)
            continue
        if waiting:
            yield _said("server", waiting)
        waiting = []
        yield _said("client", [step])
    if waiting:
        yield _said("server", waiting)


def draw(drawn: str, text: str, links: Mapping[str, str]) -> str:
    """Return the highlighted transcript with its turns and ties; `links` has the addresses of the clauses and rules in its head.

    Raises TranscriptError if `text` is not a transcript.
    """
    transcript = parse(text)
    pairs = pair(transcript)
    start, opening, body = drawn.partition("<pre>")
    body, closing, end = body.rpartition("</pre>")
    lines = [_line(line, pairs.ties.get(number)) for number, line in enumerate(body.split("\n"), 1)]
    boxes = (_box(turn, lines, pairs, links) for turn in turns(transcript))
    return start + opening + "".join(boxes) + closing + end


def _said(side: str, steps: list[Step]) -> DrawnTurn:
    return DrawnTurn(side, range(steps[0].lines[0].number, steps[-1].lines[-1].number + 1))


def _box(turn: DrawnTurn, lines: list[str], pairs: Pairs, links: Mapping[str, str]) -> str:
    gathered = "\n".join(lines[number - 1] for number in turn.lines)
    if turn.side == "head":
        gathered = _linked(gathered, links)
    pipelined = turn.side == "client" and len(set(turn.lines) & set(pairs.requests)) > 1
    caption = ' data-caption="one write"' if pipelined else ""
    return f'<span class="lmtp-turn lmtp-{turn.side}"{caption}>{gathered}\n</span>'


def _line(line: str, tie: Tie | None) -> str:
    if not tie:
        return line
    of = f"recipient {tie.recipient} of {tie.of}"
    said, label = (f"final reply for {of}", f"for RCPT {tie.recipient}") if tie.final else (of, f"RCPT {tie.recipient}")
    return f'<span class="lmtp-tie" data-label="{label}" title="{said}">{line}</span>'


def _linked(head: str, links: Mapping[str, str]) -> str:
    """Link the clauses and rules in the text between the tags of `head`."""

    def link(word: re.Match[str]) -> str:
        uri = links.get(word[0])
        return f'<a href="{html.escape(uri)}">{word[0]}</a>' if uri else word[0]

    parts = re.split(r"(<[^>]*>)", head)
    return "".join(part if part.startswith("<") else _LINKED.sub(link, part) for part in parts)
