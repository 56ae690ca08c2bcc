"""Plots as SVG: curves over sizes, and bars.  No script, no font and no address in them, and the same figures make the same file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import NamedTuple, Self

WIDTH, LINE = 800, 20
LETTER = 7  # as wide as most
# Colours that everyone tells apart (Okabe and Ito's, and a grey), each with a mark of its own.
COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#777777", "#009e73", "#cc79a7", "#000000", "#8c510a")
MARKS = (
    "M-4-4h8v8h-8z",
    "M0-5l5 5-5 5-5-5z",
    "M0-5l5 9h-10z",
    "M0 5l5-9h-10z",
    "M-4-4l8 8m0-8l-8 8",
    "M-5 0h10m-5-5v10",
    "M-5 0a5 5 0 0 0 10 0a5 5 0 0 0-10 0z",
    "M-5-2h10v4h-10z",
    "M-5 0l9-5v10z",
)
STEPS = [digit * 10.0**power for power in range(-3, 10) for digit in (1, 2, 5)]
LEGEND_COLUMNS, LEGEND_WIDTH = 4, 190
MOST_STEPS = 9  # on an axis; where there are more, the powers of ten have to do


class Point(NamedTuple):
    """The results at `x`: median, minimum and maximum of the rounds."""

    x: float
    y: float
    low: float
    high: float

    @classmethod
    def of(cls, x: float, y: float, rounds: Iterable[float] = ()) -> Self:
        """The point `y`, and how far the rounds, if any, lie from it."""
        measured = [y, *rounds]
        return cls(x, y, min(measured), max(measured))


class Log(NamedTuple):
    """A logarithmic axis: the values at its ends, and where these lie in the picture."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the position of a value."""
        return self.start + (self.end - self.start) * math.log(value / self.low) / math.log(self.high / self.low)

    @property
    def steps(self) -> list[float]:
        """The round values on it."""
        inside = [step for step in STEPS if self.low <= step <= self.high]
        return inside if len(inside) <= MOST_STEPS else [step for step in inside if math.log10(step).is_integer()]


def _around(values: Sequence[float], start: float, end: float) -> Log:
    """The axis between the round values that enclose these."""
    return Log(max(step for step in STEPS if step < min(values)), min(step for step in STEPS if step > max(values)), start, end)


def number(value: float) -> str:
    """A value as an axis says it."""
    return f"{value:,.10g}"


def octets(value: float) -> str:
    """A number of octets as an axis says it."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g} B"


@dataclass(frozen=True)
class Curves:
    """A panel of lines, both axes logarithmic: a cost in proportion is a straight line, and one that does not grow is level.

    Its title says what the values are, and `x` what it is that grows.
    """

    title: str
    x: str
    lines: Mapping[str, Sequence[Point]]
    tick: Callable[[float], str] = number

    height = 330

    def draw(self, names: Sequence[str], width: float) -> Iterator[str]:
        """The parts of the picture; `names` are in the order of the colours."""
        lines = {name: [point for point in line if point.low > 0] for name, line in self.lines.items()}  # such an axis has no nought
        points = [point for line in lines.values() for point in line]
        across = Log(min(point.x for point in points), max(point.x for point in points), 58, width - 36)
        up = _around([value for point in points for value in (point.low, point.high)], self.height - 60, 34)
        yield _text(4, 18, self.title, weight="bold")
        yield from self._grid(across, up)
        for name, line in lines.items():
            yield from _curve([(across.at(p.x), up.at(p.y), up.at(p.low), up.at(p.high)) for p in line], names.index(name))

    def _grid(self, across: Log, up: Log) -> Iterator[str]:
        for step in up.steps:
            yield _path(f"M{across.start} {up.at(step):.1f}H{across.end}", "#ddd")
            yield _text(across.start - 8, up.at(step) + 4, number(step), anchor="end")
        values = sorted({point.x for line in self.lines.values() for point in line})
        letters = sum(len(self.tick(value)) + 1 for value in values)
        every = math.ceil(letters * LETTER / (across.end - across.start))  # as many of the values as there is room for
        for turn, value in enumerate(values):
            x = across.at(value)
            yield _path(f"M{x:.1f} {up.end}V{up.start + 4}", "#ddd")
            if turn % every == 0:
                yield _text(x, up.start + 20, self.tick(value), anchor="middle")
        yield _text((across.start + across.end) / 2, up.start + 42, self.x, anchor="middle")


def _curve(points: Sequence[tuple[float, float, float, float]], turn: int) -> Iterator[str]:
    """A line through the medians, a mark on each, and thin lines as far as the rounds went."""
    colour = COLOURS[turn]
    for (x, y, *_), (next_x, next_y, *_) in pairwise(points):
        yield _path(f"M{x:.1f} {y:.1f}L{next_x:.1f} {next_y:.1f}", colour, 2)
    for x, y, low, high in points:
        yield _path(f"M{x:.1f} {low:.1f}V{high:.1f}", colour)
        yield _mark(x, y, turn)


@dataclass(frozen=True)
class Bars:
    """A panel of bars from zero, each with a label."""

    title: str
    bars: Mapping[str, Point]  # their x is not used
    say: Callable[[str, Point], str] = lambda _, point: number(round(point.y))

    @property
    def height(self) -> int:
        """As many lines as there are bars, and the title."""
        return LINE * len(self.bars) + 44

    def draw(self, names: Sequence[str], width: float) -> Iterator[str]:
        """The parts of the picture; `names` are in the order of the colours."""
        start = 12 + LETTER * max(map(len, self.bars))
        said = 12 + LETTER * max(len(self.say(*item)) for item in self.bars.items())
        scale = (width - start - said) / max(point.high for point in self.bars.values())
        yield _text(4, 18, self.title, weight="bold")
        for line, (name, point) in enumerate(self.bars.items()):
            y = 28 + LINE * line
            yield _text(start - 6, y + 14, name, anchor="end")
            yield f'<rect x="{start}" y="{y + 3}" width="{point.y * scale:.1f}" height="14" fill="{COLOURS[names.index(name)]}"/>'
            yield _path(f"M{start + point.low * scale:.1f} {y + 10}H{start + point.high * scale:.1f}", "#222")
            yield _text(start + point.high * scale + 6, y + 14, self.say(name, point))


def figure(title: str, panels: Sequence[Curves | Bars], columns: int = 2) -> str:
    """The panels beside and below each other, as an SVG document; above them, if there are curves, a legend."""
    names = list(dict.fromkeys(name for panel in panels for name in (panel.lines if isinstance(panel, Curves) else panel.bars)))
    parts: list[str] = []
    y = 14
    if any(isinstance(panel, Curves) for panel in panels):
        rows = math.ceil(len(names) / LEGEND_COLUMNS)
        parts += _legend(names, math.ceil(len(names) / rows))
        y += LINE * rows + 6
    for first in range(0, len(panels), columns):
        row = panels[first : first + columns]
        for column, panel in enumerate(row):
            parts.append(f'<g transform="translate({10 + column * (WIDTH - 10) / columns:.1f} {y})">')
            parts += [*panel.draw(names, (WIDTH - 10) / columns - 10), "</g>"]
        y += max(panel.height for panel in row)
    return _document(title, parts, y)


def _legend(names: Iterable[str], columns: int) -> Iterator[str]:
    for turn, name in enumerate(names):
        x, y = 28 + turn % columns * LEGEND_WIDTH, 18 + turn // columns * LINE
        yield _path(f"M{x - 12} {y}h24", COLOURS[turn], 2)
        yield _mark(x, y, turn)
        yield _text(x + 18, y + 4, name)


def _document(title: str, parts: Iterable[str], height: int) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif" font-size="13" fill="#222">'
    ground = f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#fff"/>'  # so that it reads as well on a dark page
    return "\n".join([head, f"<title>{escape(title)}</title>", ground, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "", weight: str = "") -> str:
    more = f' text-anchor="{anchor}"' if anchor else ""
    more += f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(text)}</text>'


def _path(way: str, colour: str, width: int = 1) -> str:
    return f'<path d="{way}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _mark(x: float, y: float, turn: int) -> str:
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{MARKS[turn]}" fill="{COLOURS[turn]}" stroke="{COLOURS[turn]}"/>'
