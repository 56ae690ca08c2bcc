"""The flow of one message as a picture: its stages from top to bottom, each with the replies that end it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import NamedTuple

from lmtpref.doctools.picture import box, document, width_of
from lmtpref.protocol.catalogue import CATALOGUE


class Stop(NamedTuple):
    """A stage: its name in the catalogue of replies, the hooks that are called, how often, and the positive reply."""

    name: str
    hooks: str
    times: str
    positive: str


STOPS = (
    Stop("connect", "connect", "", "220"),
    Stop("LHLO", "lhlo", "", "250"),
    Stop("MAIL", "mail", "", "250"),
    Stop("RCPT", "rcpt", "for each recipient", "250"),
    Stop("DATA", "data", "", "354"),
    Stop("the final dot", "message, deliver", "for each recipient", "250"),
)
WIDTH, EDGE = 450, 8
_STOP_WIDTH, _STOP_HEIGHT, _ROW, _GAP = 146, 50, 26, 34
_EXITS_AT = EDGE + _STOP_WIDTH + 24


def exits(stop: Stop) -> list[str]:
    """Return the codes of the replies that reject or defer at this stage alone, without those that any command can get."""
    here = [entry for entry in CATALOGUE if stop.name in entry.when.split(", ") and not entry.when.startswith("all but")]
    negative = [entry for entry in here if entry.reply.code >= 400]
    return sorted({f"{entry.reply.code} {entry.reply.enhanced}" for entry in negative})


def draw(link: Callable[[str], str]) -> str:
    """Return the picture as an SVG document; `link` gives the address for the codes of a reply."""
    parts, y = [], EDGE
    for stop in STOPS:
        rows = list(_rows(exits(stop)))
        height = max(_STOP_HEIGHT, _ROW * len(rows))
        parts += [*_stage(stop, y), *_onward(stop, y + _STOP_HEIGHT, y + height + _GAP)]
        parts += [f'<a href="{escape(link(codes))}">{box(codes, x, y + _ROW * row)}</a>' for row, codes, x in _places(rows)]
        y += height + _GAP
    parts.append(f'<text class="stage" x="{EDGE + 10}" y="{y + 16}">the queue</text>')
    return document("The flow of one message", parts, WIDTH, y + 28)


def _stage(stop: Stop, y: int) -> Iterator[str]:
    yield f'<rect class="stop" x="{EDGE}" y="{y}" width="{_STOP_WIDTH}" height="{_STOP_HEIGHT}" rx="6"/>'
    yield f'<text class="stage" x="{EDGE + 10}" y="{y + 20}">{stop.name}</text><text x="{EDGE + 10}" y="{y + 40}">{stop.hooks}</text>'
    yield f'<path class="line" d="M{EDGE + _STOP_WIDTH} {y + 13}H{_EXITS_AT - 4}"/>'


def _onward(stop: Stop, top: int, bottom: int) -> Iterator[str]:
    x = EDGE + 18
    yield f'<path class="line" d="M{x} {top}V{bottom - 2}m-5 -7l5 7l5 -7"/>'
    yield f'<text class="note" x="{x + 12}" y="{top + 21}">{stop.positive} {stop.times}</text>'


def _rows(words: list[str]) -> Iterator[list[str]]:
    a_row = (WIDTH - _EXITS_AT) // (width_of("550 5.1.1") + 6)
    yield from (words[first : first + a_row] for first in range(0, len(words), a_row))


def _places(rows: list[list[str]]) -> Iterator[tuple[int, str, int]]:
    for row, words in enumerate(rows):
        for column, codes in enumerate(words):
            yield row, codes, _EXITS_AT + column * (width_of("550 5.1.1") + 6)
