"""A transcript played from the server's side, to test a client.

Each reply of the transcript is paired with its command, so that each command can be answered as it arrives, whether
or not the client pipelines::

    script = Script(transcript)
    send(script.take())                 # the greeting
    while not script.closed:
        script.feed(receive())          # or script.eof()
        send(script.take())
    assert not script.explain()
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from lmtpref.protocol.client.session import ClientSession
from lmtpref.protocol.errors import TranscriptError
from lmtpref.protocol.extensions import MAX_COMMAND_LINE_OCTETS
from lmtpref.transcripts.notation import WILDCARD, Line, Transcript, written
from lmtpref.transcripts.opening import opened
from lmtpref.transcripts.script_frames import Frame, frames, greeting
from lmtpref.transcripts.script_matching import command_agrees, may_follow

ScriptVerdict = Literal["played", "mismatch", "unfinished", "unstarted"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The point at which the client left the script: a line of the document, its text, and the octets that came."""

    path: str
    line: int
    problem: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.problem}\n  expected  {self.expected}\n  came      {self.got}\n"


class Script:
    """The server's side of `transcript`, which checks that the client sends the client's side.

    Commands are compared by meaning, message content octet for octet.  With `# match: exact`, commands are compared octet for
    octet too, and the client must wait at each reply of the transcript.  `closed` says to close the connection when `take`
    is empty: at `<close>`, after the reply to a QUIT that is the last command, or after a mismatch.

    Raises TranscriptError for a transcript whose replies have wildcards, because these cannot be sent.
    """

    def __init__(self, transcript: Transcript) -> None:
        for line in transcript.lines:
            if line.who == "S" and WILDCARD in line.text:
                raise TranscriptError(f"{transcript.path}:{line.number}: a reply with {WILDCARD} cannot be played by a server: '{line}'")
        transcript = opened(transcript)
        self.transcript = transcript
        self.closed = False
        self.mismatch: Mismatch | None = None
        self._strict = "exact" in transcript.values("match")
        self._frames = deque(frames(transcript))
        self._last: Frame | None = None  # the frame that was answered last
        self._started = False
        self._pipelining = False  # whether the script offered PIPELINING
        self._buffer = bytearray()
        self._out: deque[Line] = deque(greeting(transcript))

    # The driver's side ------------------------------------------------------------------------------------------

    def feed(self, octets: bytes) -> None:
        """Process octets from the client."""
        self._started = self._started or bool(octets)
        if not self.closed:
            self._buffer += octets
            while self._buffer and not self.closed and self._step():
                pass

    def eof(self) -> None:
        """Note that the client has closed the connection."""
        if self._frames and self._frames[0].kind == "close":
            self._frames.popleft()
        self.closed = True

    def take(self) -> bytes:
        """Return the octets to send now: up to the next `<pause>`, or `<close>`."""
        octets = b""
        while self._out and self._out[0].what == "say":
            octets += self._out.popleft().octets
        if self._out and self._out[0].what == "close":
            self._out.clear()
            self.closed = True
        elif not self._out and not self._frames and self._last and self._last.verb == "QUIT":
            self.closed = True
        return octets

    @property
    def pause(self) -> float:
        """The seconds to wait before `resume`; 0 without a pause."""
        return self._out[0].seconds if self._out and self._out[0].what == "pause" else 0.0

    def resume(self) -> None:
        """End the pause."""
        if self._out and self._out[0].what == "pause":
            self._out.popleft()

    def restart(self) -> None:
        """Begin again with the greeting, for another client; only for a script whose client has sent nothing."""
        self.closed = False
        self._out = deque(greeting(self.transcript))

    # The verdict ------------------------------------------------------------------------------------------------

    @property
    def verdict(self) -> ScriptVerdict:
        """The part of the script that was played."""
        if self.mismatch:
            return "mismatch"
        if not self._frames and not self._buffer:
            return "played"
        return "unfinished" if self._started else "unstarted"

    def explain(self) -> str:
        """Return an empty text if the script was played to its end; else document, line, and expected and received text."""
        if self.verdict == "played":
            return ""
        if self.mismatch:
            return str(self.mismatch)
        missing = self._frames[0].lines[0] if self._frames else self.transcript.lines[-1]
        problem = "the client sent no more" if self._started else "the client never began"
        came = _spelt(bytes(self._buffer)) if self._buffer else "nothing"
        return str(Mismatch(self.transcript.path, missing.number, problem, str(missing), came))

    # The client's octets ----------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Process one frame of the client's octets; return False if none is complete."""
        if not self._frames:
            if self._out and self._out[-1].what == "close":  # the client cannot know of the close yet
                self._buffer.clear()
                return False
            return self._fail(self.transcript.lines[-1], "the client sent more", "nothing more")
        frame = self._frames[0]
        if frame.kind == "close":
            return self._fail(frame.lines[0], "the client sent more")
        octets = self._content(frame) if frame.kind == "content" else self._command(frame)
        if octets and self._out and not may_follow(self._last, frame, pipelining=self._pipelining, strict=self._strict):
            return self._fail(frame.lines[0], "the client did not wait for the reply before this")
        del self._buffer[:octets]
        return octets > 0 and self._answer(frame)

    def _command(self, frame: Frame) -> int:
        """Return the octets of a command line that matches; 0 if none is complete."""
        end = self._buffer.find(b"\r\n") + 2
        if end < 2:
            if len(self._buffer) > MAX_COMMAND_LINE_OCTETS:
                self._fail(frame.lines[0], "a line without CRLF came")
            return 0
        if not command_agrees(frame.octets, bytes(self._buffer[:end]), strict=self._strict):
            self._fail(frame.lines[0], "another command came")
            return 0
        return end

    def _content(self, frame: Frame) -> int:
        """Return the octets of the content, once all have come; they are compared as they come."""
        came = bytes(self._buffer[: len(frame.octets)])
        if not frame.octets.startswith(came):
            place = next(place for place, (one, other) in enumerate(zip(frame.octets, came, strict=False)) if one != other)
            line, start = frame.line_at(place)
            del self._buffer[:start]
            self._fail(line, "other content came")
            return 0
        return len(came) if len(came) == len(frame.octets) else 0

    def _answer(self, frame: Frame) -> bool:
        self._frames.popleft()
        self._last = frame
        self._out += frame.replies
        if frame.verb == "LHLO":
            self._pipelining = any(line.octets[4:].strip().upper() == b"PIPELINING" for line in frame.replies)
        return True

    def _fail(self, line: Line, problem: str, expected: str | None = None) -> bool:
        came = bytes(self._buffer[: self._buffer.find(b"\r\n") + 2] or self._buffer[:MAX_COMMAND_LINE_OCTETS])
        self.mismatch = Mismatch(self.transcript.path, line.number, problem, expected or str(line), _spelt(came))
        self._out.clear()
        self.closed = True
        return False


def converse(client: ClientSession, script: Script) -> Script:
    """Play `script` with `client` until neither sends any more, and return `script`; pauses take no time."""
    said = True
    while said:
        client.feed(heard := script.take())
        script.feed(sent := client.take())
        said = bool(heard or sent or script.pause)
        script.resume()
    if client.closed:
        script.eof()
    if script.closed:
        client.eof()
    return script


def _spelt(octets: bytes) -> str:
    return written("C", octets)
