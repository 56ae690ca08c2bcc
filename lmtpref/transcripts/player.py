"""The player of transcripts: it plays the client's side to a server, over any `Wire`."""

from __future__ import annotations

from lmtpref.protocol.client.reply_reader import ReplyReader
from lmtpref.protocol.errors import ReplyError, UsageError
from lmtpref.transcripts.matching import loosest
from lmtpref.transcripts.memory_wire import Wire
from lmtpref.transcripts.notation import Level, Step, Transcript
from lmtpref.transcripts.opening import LHLO, OPENING_CODES, has_implied_opening
from lmtpref.transcripts.result import Deviation, PlayResult, Turn


def play(transcript: Transcript, wire: Wire, *, level: Level = "exact") -> PlayResult:
    """Play the client's side of `transcript` over `wire`, close it, and return the outcome.

    Replies are compared at `level`, or at that of the transcript's `# match:` if it is less strict.
    Raises UsageError for a transcript that tests a client.
    """
    player = _Player(transcript, wire)
    try:
        if transcript.role == "client":
            raise UsageError("a transcript with 'role: client' is for a client, not for a server")
        player.run()
    finally:
        wire.close()
    return PlayResult(transcript, loosest(level, transcript.level), player.turns, player.faults)


class _Player:
    """One run: `turns` holds the received replies, and `faults` the differences that only the timing shows."""

    def __init__(self, transcript: Transcript, wire: Wire) -> None:
        self.turns: list[Turn] = []
        self.faults: list[Deviation] = []
        self._transcript, self._wire = transcript, wire
        self._reader = ReplyReader()
        self._due = 0  # replies expected so far
        self._come = 0  # replies received so far

    def run(self) -> None:
        """Play every turn; over a wire with real waiting, stop after a missing reply."""
        try:
            if has_implied_opening(self._transcript) and not self._open():
                return
            for turn in _turns(self._transcript):
                self._play(turn)
                if self._gave_up:
                    return
            self._finish()
        except ReplyError as error:
            self._fault(self._transcript.lines[-1].number, str(error))

    def _open(self) -> bool:
        """Read the greeting and send LHLO; return whether the server accepted it."""
        self.turns.append(Turn())
        self._listen(until=1)
        self._wire.send(f"{LHLO}\r\n".encode())
        self._listen(until=len(OPENING_CODES))
        heard = self.turns.pop().heard
        self._come = 0
        fine = tuple(reply[0][:3] for reply in heard) == OPENING_CODES
        if not fine:
            self._fault(self._transcript.lines[0].number, "the implied greeting and LHLO were not answered 220 and 250")
        return fine

    def _play(self, turn: Turn) -> None:
        self.turns.append(turn)
        for step in turn.client:
            self._act(step)
        if self._wire.instant:
            self._take(self._wire.receive())
        for step in turn.server:
            self._expect(step)
            if self._gave_up:
                return

    @property
    def _gave_up(self) -> bool:
        """Whether an expected reply did not come after the full wait; waiting for the next one would be useless."""
        return self._come < self._due and not self._wire.instant

    def _act(self, step: Step) -> None:
        if step.what == "say":
            self._wire.send(step.octets)
        elif step.what == "pause":
            self._take(self._wire.pause(step.lines[0].seconds))
        else:
            self._wire.half_close()

    def _expect(self, step: Step) -> None:
        if step.what == "say":
            self._due += 1
            self._listen(until=self._due)
        elif step.what == "pause":
            self._expect_silence(step)
        else:
            self._listen()
            if not self._wire.closed:
                self._fault(step.lines[0].number, "the server did not close the connection", step)

    def _expect_silence(self, step: Step) -> None:
        """Check that nothing comes; on a wire without time, the replies after the pause have come with those before it."""
        self._take(self._wire.pause(step.lines[0].seconds))
        allowed = sum(len(turn.expected) for turn in self.turns) if self._wire.instant else self._due
        if self._come > allowed or self._reader.unfinished:
            self._fault(step.lines[0].number, "the server was not silent", step)

    def _finish(self) -> None:
        """Close the sending direction, so that the remaining octets come at once."""
        last = self._transcript.steps[-1]
        if last.what != "close":
            self._wire.half_close()
        self._listen()
        if self._reader.unfinished:
            self._fault(last.lines[-1].number, f"an incomplete reply came: {self._reader.unfinished!r}")

    def _listen(self, until: int | None = None) -> None:
        """Read until `until` replies have come, or no more come."""
        while (until is None or self._come < until) and (octets := self._wire.receive()):
            self._take(octets)

    def _take(self, octets: bytes) -> None:
        self._reader.feed(octets)
        while reply := self._reader.next():
            self.turns[-1].heard.append(reply)
            self._come += 1

    def _fault(self, number: int, problem: str, step: Step | None = None) -> None:
        self.faults.append(Deviation(number, problem, step.lines if step else ()))


def _turns(transcript: Transcript) -> list[Turn]:
    """Return the dialogue, divided before each client line that follows a server line; the first turn has the greeting."""
    turns = [Turn()]
    for step in transcript.steps:
        if step.who == "C" and (turns[-1].server or len(turns) == 1):
            turns.append(Turn())
        (turns[-1].client if step.who == "C" else turns[-1].server).append(step)
    return turns
