"""The implied opening: a dialogue that begins with the client's line starts after the greeting and LHLO."""

from __future__ import annotations

from dataclasses import replace

from lmtpref.protocol.extensions import Offer, lhlo_reply
from lmtpref.protocol.settings import Settings
from lmtpref.transcripts.notation import Transcript, parse

LHLO = "LHLO mta.example"
OPENING_CODES = (b"220", b"250")  # of the greeting, and of the reply to LHLO

_SERVER = Settings(hostname="lists.example")


def has_implied_opening(transcript: Transcript) -> bool:
    """Return whether `transcript` omits greeting and LHLO."""
    return transcript.steps[0].who == "C"


def opened(transcript: Transcript) -> Transcript:
    """Return `transcript` with greeting and LHLO, which are added if omitted: those of this server, for a known MTA."""
    if not has_implied_opening(transcript):
        return transcript
    answer = [f"S: {line}" for line in str(lhlo_reply(Offer(_SERVER, known=True, secure=False))).split("\n")]
    text = "\n".join([f"S: 220 {_SERVER.hostname} LMTP lmtpref", f"C: {LHLO}", *answer])
    opening = parse(text, path=transcript.path)
    number = transcript.lines[0].number
    steps = tuple(replace(step, lines=tuple(replace(line, number=number) for line in step.lines)) for step in opening.steps)
    return replace(transcript, steps=(*steps, *transcript.steps))
