"""The requirements that cases cite: clauses of RFCs, with their strength and where to read them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

Strength = Literal["MUST", "SHOULD", "MAY"]

STRENGTHS: tuple[Strength, ...] = ("MUST", "SHOULD", "MAY")  # from the strongest to the weakest
_MUST = re.compile(r"must|shall|forbidden|implied|not allowed", re.IGNORECASE)
_SHOULD = re.compile(r"should|recommended|encouraged|discouraged|appropriate", re.IGNORECASE)
_SECTION = re.compile(r"[\d.]*\d")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One clause of an RFC, in a sentence of these documents."""

    id: str
    rfc: str
    section: str
    party: str
    level: str
    text: str

    @property
    def strength(self) -> Strength:
        """The strength of the clause, from the first keyword in it; a clause that RFC 2033 overrides has none."""
        word = self.level.partition("/")[0]
        if "overridden" in self.level:
            return "MAY"
        if _MUST.search(word):
            return "MUST"
        return "SHOULD" if _SHOULD.search(word) else "MAY"

    @property
    def link(self) -> str:
        """The URL of the clause; empty if its source is not an RFC."""
        if not self.rfc.isdigit():
            return ""
        section = _SECTION.match(self.section)
        return f"https://www.rfc-editor.org/rfc/rfc{self.rfc}" + (f"#section-{section[0]}" if section else "")

    def __str__(self) -> str:
        source = f"RFC {self.rfc}" if self.rfc.isdigit() else self.rfc
        return f"{source} section {self.section}, {self.level}: {self.text}"


@lru_cache(maxsize=2)
def load(docs: Path) -> dict[str, Requirement]:
    """Return the requirements of `docs`, a folder with a `clauses.toml`, by their ids."""
    clauses = tomllib.loads((docs / "clauses.toml").read_text("utf-8"))["clause"]
    fields = ("id", "rfc", "section", "party", "level", "text")
    return {clause["id"]: Requirement(**{field: clause[field] for field in fields}) for clause in clauses}
