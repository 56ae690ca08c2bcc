"""Random octets made by atheris, which follows the branches that they reach in the code.

`fuzz.py SECONDS` tries that long, each target in a process of its own, and prints what made one fail; exit code 1 if any did.
"""

from __future__ import annotations

import importlib.util
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from lmtpref import ConfigurationError, Envelope, Handler, MemoryQueues, Peer, Recipient, Settings
from lmtpref.config import Configuration, cast, load
from lmtpref.config import loader as config
from lmtpref.config.keys import KEYS
from lmtpref.net.transaction_record import JournalObserver, TransactionRecord
from lmtpref.protocol.client.reply_reader import ReplyReader
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.syntax import Path as Address
from lmtpref.transcripts.memory_wire import MemoryWire

DOCS = Path(__file__).parent.parent
LONGEST_OCTETS = 4096  # of one input
SETTINGS = (
    Settings(),
    Settings(max_message_octets=60, max_recipients=2, max_errors=3),
    Settings(max_text_line_octets=20, bare_newlines="keep"),
)
OPENING = b"LHLO mta.example\r\nMAIL FROM:<anne@home.test>\r\nRCPT TO:<ant@lists.example>\r\n"
REPLY_LINE = re.compile(rb"(?=.{,510}\Z)[2-5]\d\d[ -](\d\.\d+\.\d+ )?[\x20-\x7e\x80-\xff]+")
CAST = cast()


# Requirements -------------------------------------------------------------------------------------------------------


def check_session(octets: bytes) -> None:
    """Raise AssertionError unless the cast's server survives `octets`; the first octet chooses the settings, the second the pieces."""
    if len(octets) < 2:
        return
    settings, rest = SETTINGS[octets[0] % len(SETTINGS)], octets[2:]
    whole, kept = converse([rest], settings)
    in_pieces = converse(cut(rest, octets[1]), settings)
    assert in_pieces == (whole, kept), f"in pieces: {in_pieces}, not {(whole, kept)}"
    said = replies_in(whole)
    journaled, records = journal([rest], settings)
    assert journaled == (whole, kept), f"with a journal: {journaled}, not {(whole, kept)}"
    for record in records:
        answered = all(attempt.final or not attempt.rcpt.positive for attempt in record.recipients)
        assert answered or record.end != "answered", record
    finals = sum(line.startswith(b"250 2.0.0 <") for line in said)
    assert kept <= finals, f"{kept} kept, {finals} promised: {whole!r}"


def check_toml(octets: bytes) -> None:
    """Load `octets` as a configuration and make a server of it; every exception but ConfigurationError is raised."""
    with tempfile.TemporaryDirectory() as folder, patch.object(config, "import_module", side_effect=ImportError):
        file = Path(folder, "lmtpref.toml")
        file.write_bytes(octets)
        with suppress(ConfigurationError):
            configuration = load(file)
            serve_once(configuration)
            configuration.close()


def serve_once(configuration: Configuration) -> None:
    """Ask a handler of that configuration about a recipient, if it answers without waiting."""
    envelope = Envelope(Peer(), Address.parse("anne@home.test"))
    answer = configuration.handler(MemoryQueues()).rcpt(envelope, Recipient(Address.parse("ant@lists.example")))
    if isinstance(answer, Coroutine):
        answer.close()


def converse(pieces: Iterable[bytes], settings: Settings, *observers: Observer) -> tuple[bytes, int]:
    """Return the replies of the cast's server to `pieces`, and its number of entries afterwards."""
    queues = MemoryQueues()
    handler: Handler = CAST.handler(queues)
    client = MemoryWire(handler, settings, observers=observers)
    for piece in pieces:
        client.send(piece)
    client.half_close()
    said = client.receive()
    client.close()
    return said, sum(len(queue) for _, queue in queues.items())


def journal(pieces: Iterable[bytes], settings: Settings) -> tuple[tuple[bytes, int], list[TransactionRecord]]:
    """Return the same as `converse`, and the lines of a journal."""
    records: list[TransactionRecord] = []
    return converse(pieces, settings, JournalObserver(records.append)), records


def cut(octets: bytes, seed: int) -> list[bytes]:
    """Return `octets` cut into random pieces; the seed 0 cuts after every octet."""
    chance, pieces = random.Random(seed), []  # noqa: S311 - no secret
    while octets:
        end = chance.randint(1, 9) if seed else 1
        pieces.append(octets[:end])
        octets = octets[end:]
    return pieces


def replies_in(said: bytes) -> list[bytes]:
    """Return the last line of each reply.  Raises AssertionError if the text is not a sequence of replies."""
    reader, last = ReplyReader(), []
    reader.feed(said)
    while reply := reader.next():
        assert all(REPLY_LINE.fullmatch(line) for line in reply), reply
        last.append(reply[-1])
    assert not reader.unfinished, reader.unfinished
    return last


# First inputs ---------------------------------------------------------------------------------------------------


def dialogues() -> list[bytes]:
    """Return the octets that the documents' clients send."""
    blocks = [block for page in sorted(DOCS.rglob("*.rst")) for block in page.read_text().split(".. code-block:: lmtp")[1:]]
    said = [re.findall(r"^   C:(?: ([^<\n].*))?$", block, re.MULTILINE) for block in blocks]
    return [b"\0\7" + OPENING, *(("\0\7" + "".join(f"{line}\r\n" for line in lines)).encode() for lines in said if lines)]


def configurations() -> list[bytes]:
    """Return the cast's configuration, and one with a line for each key."""
    lines = {table: [f'{key.name} = "x"' for key in KEYS if key.table == table] for table in ("server", "spool", "maps", "list")}
    lists = "\n".join(["[[list]]", 'address = "ant@lists.example"', *lines["list"]])
    tables = ("\n".join([f"[{table}]", *lines[table]]) for table in ("server", "spool", "maps"))
    return [config.CAST.read_bytes(), lists.encode(), *(table.encode() for table in tables)]


Target = tuple[Callable[[bytes], None], Callable[[], list[bytes]]]
TARGETS: dict[str, Target] = {"session": (check_session, dialogues), "toml": (check_toml, configurations)}


# Runs ------------------------------------------------------------------------------------------------------


RUN = """
import sys, atheris
with atheris.instrument_imports(include=["lmtpref"]):
    import fuzz
check, _ = fuzz.TARGETS[sys.argv.pop(1)]
atheris.Setup(sys.argv, check)
atheris.Fuzz()
"""


def try_target(name: str, seconds: int) -> bool:
    """Run one target for some seconds in its own process; return whether it passed."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, found = Path(folder, "corpus"), Path(folder, "found")
        corpus.mkdir()
        found.mkdir()
        for number, octets in enumerate(TARGETS[name][1]()):
            (corpus / str(number)).write_bytes(octets[:LONGEST_OCTETS])
        options = [f"-max_total_time={seconds}", f"-max_len={LONGEST_OCTETS}", f"-artifact_prefix={found}/", "-timeout=10", str(corpus)]
        command = [sys.executable, "-c", RUN, name, *options]
        done = subprocess.run(command, cwd=DOCS / "corners", capture_output=True, text=True, check=False)
        runs = re.findall(r"^#(\d+)\s.*cov: (\d+)", done.stderr, re.MULTILINE)
        print(f"{name}: {runs[-1][0] if runs else 0} inputs, {runs[-1][1] if runs else 0} branches, exit code {done.returncode}")
        for file in found.iterdir():
            print(f"{name} fails at {file.read_bytes()!r}")
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
        return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Run every target."""
    if not importlib.util.find_spec("atheris"):
        print("atheris is not installed; `nox -s properties` looks for much of the same")
        return 2
    seconds = int(arguments[0]) if arguments else 60
    held = [try_target(name, max(1, seconds // len(TARGETS))) for name in TARGETS]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
