"""Input for the properties of this folder: octets that a client may send, and handlers that may answer it."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator

from hypothesis import settings
from hypothesis import strategies as st

from lmtpref import AcceptAll, Reply, Settings
from lmtpref.protocol.catalogue import BUSY_452
from lmtpref.protocol.syntax import Path
from lmtpref.transcripts.memory_wire import MemoryWire
from lmtpref.transcripts.notation import Transcript, parse, written

MORE = os.environ.get("LMTP_EXAMPLES")  # how many examples of each property; unset: few, and the same ones each time


def trying(examples: int) -> settings:
    """Return the settings for a property: `examples`, unless LMTP_EXAMPLES is set, without a time limit for an example."""
    return settings(max_examples=int(MORE or examples), derandomize=MORE is None, database=None, deadline=None)


# Octets of a client ---------------------------------------------------------------------------------------------

COMMANDS = """LHLO mta.example|LHLO|EHLO mta.example|HELO x|NOOP|noop x|RSET|RSET x|VRFY anne|VRFY|HELP|QUIT|QUIT x|AUTH PLAIN|STARTTLS
XFORWARD NAME=mta.test|XFORWARD|MAIL FROM:<anne@home.test>|mail from:<>|MAIL FROM:<bart@home.test> SIZE=50 BODY=8BITMIME
MAIL FROM:<anne@home.test> SIZE=99999999|MAIL FROM:<anne@home.test> BODY=BINARYMIME|MAIL FROM:<zoë@home.test> SMTPUTF8
MAIL FROM:<dana@spam.test>|MAIL FROM:anne|MAIL|RCPT TO:<ant@lists.example>|rcpt to:<bee@lists.example>|RCPT TO:<cat-owner@lists.example>
RCPT TO:<ANT@lists.example>|RCPT TO:<nobody@lists.example>|RCPT TO:<postmaster>|RCPT TO:<> X=1|RCPT|DATA|DATA x|BDAT|BDAT 5|BDAT 0 LAST
BDAT 7 last|BDAT 99|BDAT 1000000000000000000|BDAT 6 LAST x||.|..| |x\0y|x\ry|x\ny""".replace("\n", "|").split("|")

DOTS = [b".", b"..", b"\r\n", b"\r\n.\r\n", b"\r\n..", b"\n.\n", b"\r.\r"]
WORDS = [*DOTS, b"a\nb", b"a\rb", b"\n", b"\r", b"\0\xff", b"Hello.\r\n", b"NOOP\r\n", b"RSET\r\n", b"x" * 30]

command = st.sampled_from(COMMANDS).map(lambda line: line.encode() + b"\r\n")
contents = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=6).map(b"".join)
mail = st.sampled_from([line.encode() + b"\r\n" for line in COMMANDS if line.lower().startswith("mail from:<")])
rcpt = st.sampled_from([line.encode() + b"\r\n" for line in COMMANDS if line.lower().startswith("rcpt to:<")])
by_data = contents.map(lambda content: b"DATA\r\n" + content + b"\r\n.\r\n")
chunk = st.tuples(contents, st.sampled_from([b"", b" LAST"])).map(lambda drawn: b"BDAT %d%s\r\n%s" % (len(drawn[0]), drawn[1], drawn[0]))
by_bdat = st.lists(chunk, max_size=3).map(b"".join)
any_envelope = st.tuples(mail, st.lists(rcpt, max_size=4).map(b"".join)).map(b"".join)
good_rcpt = st.sampled_from([b"RCPT TO:<%s@lists.example>\r\n" % name for name in (b"ant", b"ANT", b"bee", b"cat-owner")])
good_envelope = st.lists(good_rcpt, min_size=1, max_size=4).map(lambda rcpts: b"MAIL FROM:<anne@home.test>\r\n" + b"".join(rcpts))
transaction = st.tuples(good_envelope | any_envelope, by_data | by_bdat).map(b"".join)
parts = st.lists(transaction | st.tuples(good_envelope, by_data).map(b"".join) | command | by_data | chunk, max_size=6)
grammatical = parts.map(lambda parts: b"LHLO mta.example\r\n" + b"".join(parts))


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A grammatical dialogue with a few octets exchanged, and as many others put in or left out."""
    octets = bytearray(draw(grammatical))
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(octets)))
        octets[begin : begin + draw(st.integers(0, 3))] = draw(st.sampled_from(WORDS) | st.binary(max_size=3))
    return bytes(octets)


dialogues = grammatical | spoilt() | st.binary(max_size=60)


@st.composite
def cut(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw from `whole`, and cut the result anywhere."""
    octets = draw(whole)
    places = sorted(draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    return [octets[begin:end] for begin, end in zip([0, *places], [*places, len(octets)], strict=True)]


# Limits so low that a short dialogue meets them
servers = st.builds(
    Settings,
    max_message_octets=st.sampled_from([10_000, 10_000, 60, 5]),
    max_recipients=st.sampled_from([100, 100, 3, 1]),
    max_errors=st.sampled_from([100, 100, 5, 0]),
    max_text_line_octets=st.sampled_from([None, 20]),
    bare_newlines=st.sampled_from(["reject", "reject", "keep"]),
)


# Answers of a handler -------------------------------------------------------------------------------------------


class Waits:
    """An awaitable that is not done at once."""

    def __await__(self) -> Iterator[None]:
        """Wait once."""
        yield


async def _later(reply: Reply | None) -> Reply | None:
    return reply


async def _fail_later() -> Reply | None:
    raise RuntimeError("later")


def _fail() -> Reply | None:
    raise RuntimeError("at once")


ANSWERS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "yes": lambda: Reply(250, "2.1.5", "Yes"),
    "yes, elsewhere": lambda: Reply(251, "2.1.5", "Yes", "but elsewhere"),
    "not now": lambda: Reply(450, "4.2.1", "Not now"),
    "no": lambda: Reply(550, "5.7.1", "No", "and again", "no"),
    "away": lambda: Reply(421, "4.3.2", "Away"),
    "a reply that a handler must not give": lambda: Reply(354, None, "Go on"),
    "a reply without a code": lambda: Reply(250, None, "Yes"),
    "a text": lambda: "250 2.0.0 Yes\r\n250 2.0.0 Yes",
    "a failure": _fail,
    "nothing, later": lambda: _later(None),
    "no, later": lambda: _later(Reply(550, "5.7.1", "No")),
    "a failure, later": _fail_later,
    "something to wait for": Waits,
}
answers = st.lists(st.sampled_from(["nothing"] * 15 + [*ANSWERS]), max_size=25)


class Fickle(AcceptAll):
    """Gives the answers in turn, whatever the question, and then None."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = deque(names)

    def _answer(self, *_asked: object) -> Awaitable[Reply | None] | Reply | None:
        return ANSWERS[self._names.popleft() if self._names else "nothing"]()  # type: ignore[return-value]  # some are wrong on purpose

    connect = lhlo = mail = rcpt = data = message = deliver = reset = disconnect = _answer  # type: ignore[assignment]  # any arguments will do


class BusyWire(MemoryWire):
    """A wire to a server that can run out of room."""

    def refuse(self) -> None:
        """Reject the content that is arriving, as a full server does."""
        self._session.refuse_content(BUSY_452)
        self._run()


# Values that can be written --------------------------------------------------------------------------------------

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
texts = printable | st.integers(490, 510).map(lambda octets: "x" * octets) | printable.map(lambda text: text * 50)
enhanced = st.tuples(st.integers(0, 999), st.integers(0, 999)).map(lambda pair: f"{pair[0]}.{pair[1]}")


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Draw any valid reply."""
    code = draw(st.integers(200, 599))
    coded = code // 100 != 3 and draw(st.booleans())
    lines = draw(st.lists(texts, min_size=1, max_size=3))
    return Reply(code, f"{code // 100}.{draw(enhanced)}" if coded else None, *lines)


locals_ = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1, max_size=20)
domains = st.sampled_from(["home.test", "[127.0.0.1]", "[IPv6:::1]", "a-b.example", "bücher.example"])


@st.composite
def paths(draw: st.DrawFn) -> Path:
    """Draw any path with a domain, with a quoted local-part."""
    quoted = re.sub(r'(["\\])', r"\\\1", draw(locals_))
    return Path.parse(f'"{quoted}"@{draw(domains)}')


said = (st.sampled_from(COMMANDS).map(str.encode) | st.binary(max_size=9)).map(lambda line: [written("C", line + b"\r\n")])
raw = st.binary(min_size=1, max_size=9).map(lambda octets: [written("C", octets)])
answered = replies().map(lambda reply: [written("S", line + b"\r\n") for line in reply.octets.split(b"\r\n")[:-1]])
marks = st.sampled_from([["S: <pause 0.1>"], ["C: <pause 2>"], ["C:"], ["S: 250 [...] Ok"]])
heads = st.lists(st.sampled_from(["# rule: 2033-4.2-c", "# match: code", "# given: a list", "# needs: tls"]), max_size=2)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Draw any transcript; its lines need not make sense."""
    turns = draw(st.lists(said | raw | answered | marks, min_size=1, max_size=8))
    end = draw(st.sampled_from([[], ["S: <close>"], ["C: <close>", "S: <close>"]]))
    lines = [*draw(heads), *(line for turn in turns for line in turn), *end]
    return parse("\n".join(lines) + "\n")
