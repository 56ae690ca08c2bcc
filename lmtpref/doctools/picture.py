"""Pictures in SVG: the common parts of the pictures of the policy and of the flow."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

# The theme sets the colours of text and lines; the fills are pale enough for light and dark themes.
_STYLE = {
    "": "max-width:34em;width:100%",
    "text": "font:13px monospace;fill:var(--color-foreground-primary,#222)",
    ".stage": "font:bold 15px sans-serif",
    ".note": "font:13px sans-serif",
    ".session": "font-style:italic",
    ".line": "fill:none;stroke:var(--color-foreground-border,#999)",
    ".stop": "fill:none;stroke:var(--color-foreground-primary,#222)",
    ".accept rect": "fill:rgba(0,200,82,.2)",
    ".hold rect": "fill:rgba(255,200,0,.25)",
    ".discard rect": "fill:rgba(128,128,128,.25)",
    ".reject rect": "fill:rgba(255,82,82,.25)",
    ".defer rect": "fill:rgba(255,145,0,.25)",
    ".other rect": "fill:rgba(68,138,255,.2)",
}


def width_of(words: str) -> int:
    """Return the width of the box for these words."""
    return 8 * len(words) + 12


def box(words: str, x: int, y: int) -> str:
    """Return a coloured box around a reply or a verdict, in a row that begins at `y`."""
    frame = f'<rect x="{x}" y="{y + 3}" width="{width_of(words)}" height="20" rx="4"/>'
    return f'<g class="{_colour(words)}">{frame}<text x="{x + 6}" y="{y + 17}">{escape(words)}</text></g>'


def document(title: str, parts: Iterable[str], width: int, height: int) -> str:
    """Return the SVG document with these parts."""
    style = "".join(f".lmtp-picture {what}{{{how}}}" for what, how in _STYLE.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lmtp-picture" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{style}</style>{''.join(parts)}</svg>"
    )


def _colour(words: str) -> str:
    if words in {"accept", "hold", "discard"}:
        return words
    return {"2": "accept", "3": "accept", "4": "defer", "5": "reject"}.get(words[0], "other")
