"""The header reader on real messages: where it differs from Python's `email.utils`, and why.

The messages are Python's own test data and the fixtures of other mail software, which are downloaded into a temporary folder and not kept.
Prints each difference under its reason; exit code 1 if a difference has none, 77 if there were no messages.
"""

from __future__ import annotations

import email
import email.utils
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from lmtpref.lists.addresses import fold_address
from lmtpref.lists.policy.header import MAX_FIELDS, Header

SDISTS = (
    "flufl.bounce==6.0.0",
    "hyperkitty==1.3.12",
    "mail-parser==4.8.0",
    "django-mailbox==4.10.1",
    "talon==1.4.4",
    "mailman==3.3.10",
    "dkimpy==1.1.8",
)
TARBALLS = ("eml-format@0.6.1", "mailparser@3.14.2", "postal-mime@4.0.0")
FIELDS = ("from", "reply-to", "sender")
MAX_FILE_OCTETS = 5_000_000
NO_MESSAGES_EXIT = 77

_HEADER = re.compile(rb"(?:From .*\r?\n)?(?:[!-9;-~]+[ \t]*:.*\r?\n(?:[ \t].*\r?\n)*){3}")
_MAIL_FIELD = re.compile(rb"^(?:from|reply-to|sender|list-id|list-post)[ \t]*:", re.IGNORECASE | re.MULTILINE)
NEXT_IN_MBOX = re.compile(rb"(?<=\n\n)(?=From \S+ )")


class Reading(NamedTuple):
    """The results of two readers for one field of a message."""

    message: str
    field: str
    value: str
    ours: set[str]
    theirs: set[str]


# Why a reading may differ, in the order in which they are tried: each with the test for it, on what one reader alone found.
REASONS: tuple[tuple[str, Callable[[Reading], bool]], ...] = (
    ("not UTF-8: an address that cannot be decoded is no address", lambda r: "\ufffd" in "".join(r.theirs - r.ours)),
    ("empty brackets: <> is no mailbox", lambda r: not r.ours and r.theirs == {""}),
    ("two @: the local part would need quotes", lambda r: r.value.count("@") > 1 and not r.ours and "," not in r.value),
    ("no domain: an address has an @", lambda r: bool(r.theirs - r.ours) and all("@" not in address for address in r.theirs - r.ours)),
    ("a display name like an address: the one in brackets is the address", lambda r: bool(r.ours) and r.ours < r.theirs and "<" in r.value),
    ("one empty address: Python 3.13 gives up on the whole field", lambda r: r.theirs == {""}),
)


def main() -> int:
    """Compare the two readers; return the exit code."""
    messages = dict(sorted(found()))
    for source, count in Counter(name.partition("/")[0] for name in messages).most_common():
        print(f"{count:5} messages from {source}")
    readings = [reading for name, content in messages.items() for reading in compared(name, content)]
    different = [reading for reading in readings if reading.ours != reading.theirs]
    print(f"{len(messages)} messages, {len(readings)} fields, {len(different)} differences\n")
    unexplained = [reading for reading in different if not reason_of(reading)]
    for reason, readings_of_it in groupby(sorted(different, key=reason_of), reason_of):
        print(reason or "no reason")
        for reading in readings_of_it:
            print(f"  {reading.message}\n    {reading.field}: {reading.value[:200]!a}")
            print(f"    ours {sorted(reading.ours)!a}, email.utils {sorted(reading.theirs)!a}")
    miscounted = [name for name, content in messages.items() if not counts_agree(content)]
    for name in miscounted:
        print(f"no reason: other fields were found in {name}")
    return NO_MESSAGES_EXIT if not messages else 1 if unexplained or miscounted else 0


def reason_of(reading: Reading) -> str:
    """Return the first reason that explains the difference; "" if none does."""
    return next((reason for reason, explains in REASONS if explains(reading)), "")


def compared(name: str, content: bytes) -> Iterator[Reading]:
    """Yield the senders that each of the two readers finds in each field of `content`."""
    for field in FIELDS:
        if values := Header(content).values(field):
            alone = "".join(f"From: {value}\r\n" for value in values).encode("utf-8", "surrogateescape")
            ours = {fold_address(path.address) for path in Header(alone).senders}
            theirs = {fold_address(address) for _, address in email.utils.getaddresses(values)}
            yield Reading(name, field, ", ".join(values), ours, theirs)


def counts_agree(content: bytes) -> bool:
    """Return whether both parsers find the same number of Received, From, Reply-To and Sender fields."""
    header, parsed = Header(content), email.message_from_bytes(content)
    counts = [(header.received, "received"), *((len(header.values(name)), name) for name in FIELDS)]
    return all(min(ours, MAX_FIELDS) == min(len(parsed.get_all(name, [])), MAX_FIELDS) for ours, name in counts)


def found() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each message, from every source that can be had here; equal contents once."""
    seen: set[bytes] = set()
    with tempfile.TemporaryDirectory() as folder:
        download(Path(folder))
        for name, octets in files(Path(folder)):
            for number, content in enumerate(messages_in(octets)):
                if content not in seen:
                    seen.add(content)
                    yield f"{name} {number}", content


def download(folder: Path, sdists: Iterable[str] = SDISTS, tarballs: Iterable[str] = TARBALLS) -> None:
    """Put the packages into `folder`; name those that could not be had."""
    for requirement in sdists:
        fetch(requirement, folder, sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", requirement)
    if npm := shutil.which("npm"):
        for requirement in tarballs:
            fetch(requirement, folder, npm, "pack", "--silent", requirement)


def fetch(requirement: str, folder: Path, *command: str) -> None:
    """Run the client of a package registry in `folder`."""
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300)
    if done.returncode:
        print(f"{requirement} could not be downloaded", file=sys.stderr)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the packages in `folder`, and Python's own test data, if this Python has its tests."""
    for archive in sorted(folder.iterdir()):
        if archive.suffix in {".gz", ".tgz"}:
            with tarfile.open(archive) as packed:
                for member in packed:
                    if member.size < MAX_FILE_OCTETS and (opened := packed.extractfile(member)):
                        yield f"{archive.name}/{member.name.partition('/')[2]}", opened.read()
    data = Path(sysconfig.get_path("stdlib")) / "test" / "test_email" / "data"
    for file in sorted(data.glob("*.txt")):
        yield f"Python/{file.name}", file.read_bytes()


def messages_in(octets: bytes) -> Iterator[bytes]:
    """Yield the messages in a file: itself, or those of an mbox, and those enclosed in each of them."""
    for part in NEXT_IN_MBOX.split(octets) if octets.startswith(b"From ") else [octets]:
        if not _HEADER.match(part) or not _MAIL_FIELD.search(part):
            continue
        content = part.partition(b"\n")[2] if part.startswith(b"From ") else part
        yield content
        for enclosed in email.message_from_bytes(content).walk():
            if enclosed.get_content_type() == "message/rfc822" and isinstance(enclosed.get_payload(), list):
                yield enclosed.get_payload(0).as_bytes()  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())
