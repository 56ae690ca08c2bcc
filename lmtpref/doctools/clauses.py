"""The clauses in `clauses.toml`, and how each is shown."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLAUSES = "clauses.toml"
PARTIES = ("server", "client", "both")

# The values of `how`, each with the kind of example that must show the clause.
HOW = {
    "replies": "a server's transcript: the protocol gives these replies, whatever the handler says",
    "policy": "a server's transcript that the list server itself answers: it chooses the reply",
    "examples": "a `>>>` example, in a section that `shown` names: the replies alone do not tell",
    "client": "a client's transcript, or a section that `shown` names",
    "handler": "an example in which a handler of the page chooses the reply: carried through, not done",
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One requirement, in our words, with its other data from `clauses.toml`."""

    id: str
    rfc: str
    section: str
    party: str
    level: str
    text: str
    # The kinds of example that show it, from HOW; empty if it is argued.
    how: tuple[str, ...] = ()
    # The sections of pages, PAGE.rst::SECTION, whose examples other than transcripts show it.
    shown: tuple[str, ...] = ()
    # The reason why no example can show it.
    argued: str = ""

    @property
    def status(self) -> str:
        """Return `done`, `carried through` or `argued`."""
        if self.argued:
            return "argued"
        return "carried through" if self.how == ("handler",) else "done"

    @property
    def anchor(self) -> str:
        """Return the id of the clause's row in the rendered ledger: `clause-2033-4-2-a`."""
        return clause_anchor(self.id)


def clause_anchor(id_: str) -> str:
    """Return the id of the row of the clause `id_` in the rendered ledger."""
    return f"clause-{id_.lower().replace('.', '-')}"


def read_clauses(docs: Path) -> tuple[dict[str, str], list[Clause]]:
    """Return the subjects of the RFCs, by their numbers, and the clauses, from the file in the folder `docs`."""
    text: dict[str, Any] = tomllib.loads((docs / CLAUSES).read_text(encoding="utf-8"))
    return text["rfc"], [_clause(clause) for clause in text["clause"]]


def _clause(fields: dict[str, Any]) -> Clause:
    lists: dict[str, Any] = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Clause(**fields | lists)
