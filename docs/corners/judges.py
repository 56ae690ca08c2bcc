"""What each judge would have done with real messages that carry authentication results.

The messages are the test data of mail software on PyPI and npm, which are downloaded into a temporary folder and not kept.
Each is judged as if its first Authentication-Results field were by the trusted MTA, its author a member, and its sender a stranger.
Writes judges.json beside this file; exit code 77 if there were no such messages.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import headers

from lmtpref.lists.policy.authentication import author_of, parse_trust
from lmtpref.lists.policy.header import Header
from lmtpref.protocol.errors import ConfigurationError

SDISTS = (
    "authheaders==0.16.3",
    "django-mailbox==4.10.1",
    "dkimpy==1.1.8",
    "emailnetwork==0.0.2",
    "eml2pdf==2.1.0",
    "mail-parser==4.8.0",
    "mailman==3.3.10",
)
TARBALLS = ("mailauth@4.13.3", "mailparser@3.14.2")
RESULTS = Path(__file__).with_name("judges.json")

_MESSAGE = re.compile(
    rb"(?m)^(?:X-[\w-]+|Received|Return-Path|Delivered-To|Authentication-Results|ARC-Seal|MIME-Version|DKIM-Signature)[ \t]*:"
)


def main() -> int:
    """Judge the messages; return the exit code."""
    fates = Counter(fate for fate in map(judge, found()) if fate is not None)
    if not fates:
        return headers.NO_MESSAGES_EXIT
    counted = [{"passed": passed, "reason": reason, "messages": count} for (passed, reason), count in sorted(fates.items(), reverse=True)]
    RESULTS.write_text(json.dumps(counted, indent=1) + "\n")
    print(table(counted))
    return 0


def table(counted: list[dict[str, Any]]) -> str:
    """Return the verdicts of each judge, and the reasons of the judge that trusts an MTA."""
    total = sum(fate["messages"] for fate in counted)
    passed = sum(fate["messages"] for fate in counted if fate["passed"])
    rows = [f"{'judge':16}  trusts an MTA  accepts  rejects"]
    for name, trusts, accepts in (("envelope", "-", 0), ("envelope-or-from", "no", total), ("envelope-or-from", "yes", passed)):
        rows.append(f"{name:16}  {trusts:13}  {accepts:7}  {total - accepts:7}")
    rows += [f"{fate['messages']:3}  {'accepts' if fate['passed'] else 'rejects'}: {fate['reason']}" for fate in counted]
    return "\n".join(rows)


def judge(content: bytes) -> tuple[bool, str] | None:
    """Return whether the author counts, and why, without names; None for a message without such a field."""
    header = Header(content)
    bodies = [body for _, body in header.strict_fields("authentication-results")]
    if not bodies:
        return None
    try:
        trust = parse_trust(re.split(r"[\s;]", bodies[0].strip(), maxsplit=1)[0], ())
    except ConfigurationError:
        return False, "the identifier is not a token"
    assert trust
    author = author_of(header, trust)
    if author.path is None and header.sole_author and _has_only_the_identity(bodies[0], header.sole_author.domain):
        return False, "dkim=pass has header.i=@DOMAIN without header.d"
    if author.reason.startswith("no method") and re.search(r"\b(?:dkim|spf|dmarc)=pass", bodies[0]):
        return False, "a pass is for another domain, or lacks the property"
    return author.path is not None, _anonymous(author.reason)


def _has_only_the_identity(body: str, domain: str) -> bool:
    """Return whether a DKIM result names the domain of From by its identity alone, as some MTAs write it."""
    return any(re.search(rf"dkim=pass.*header\.i=\S*@{re.escape(domain)}\b", part) and "header.d=" not in part for part in body.split(";"))


def _anonymous(reason: str) -> str:
    reason = re.sub(r"=[^= ]+$", "=DOMAIN", reason)
    return re.sub(r"( of| for) \S+?(?=$| cannot)", r"\1 ...", reason)


def found() -> Iterator[bytes]:
    """Yield each message once."""
    seen: set[bytes] = set()
    with tempfile.TemporaryDirectory() as folder:
        headers.download(Path(folder), SDISTS, TARBALLS)
        for _, octets in headers.files(Path(folder)):
            for content in messages_in(octets):
                if content not in seen:
                    seen.add(content)
                    yield content


def messages_in(octets: bytes) -> Iterator[bytes]:
    """Yield the messages in a file, with CRLF: itself, those of an mbox, or those that a program of its tests has as text."""
    octets = octets.replace(b"\r\n", b"\n")
    texts = [octets]
    if octets.startswith(b"From "):
        texts = [part.partition(b"\n")[2] for part in headers.NEXT_IN_MBOX.split(octets)]
    elif octets.startswith((b"#", b'"""', b"import", b"from")):
        texts = re.findall(rb'b?"""\\?\n?(.*?)"""', octets, re.DOTALL)
    for text in texts:
        if _MESSAGE.match(text):
            yield text.replace(b"\n", b"\r\n")


if __name__ == "__main__":
    sys.exit(main())
