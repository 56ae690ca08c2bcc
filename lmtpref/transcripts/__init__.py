"""Transcripts: C:/S: dialogues, and the code that reads, plays and compares them."""

from __future__ import annotations

from lmtpref.transcripts.finder import find
from lmtpref.transcripts.matching import agrees
from lmtpref.transcripts.memory_wire import MemoryWire, Wire
from lmtpref.transcripts.notation import Head, Level, Line, Step, Transcript, parse
from lmtpref.transcripts.player import play
from lmtpref.transcripts.recording import Recording
from lmtpref.transcripts.result import Deviation, PlayResult, Turn
from lmtpref.transcripts.script import Mismatch, Script, ScriptVerdict, converse

__all__ = [
    "Deviation",
    "Head",
    "Level",
    "Line",
    "MemoryWire",
    "Mismatch",
    "PlayResult",
    "Recording",
    "Script",
    "ScriptVerdict",
    "Step",
    "Transcript",
    "Turn",
    "Wire",
    "agrees",
    "converse",
    "find",
    "parse",
    "play",
]
