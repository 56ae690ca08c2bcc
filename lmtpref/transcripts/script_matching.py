"""The comparison of a client's command with the one in a script, and with the order that is allowed."""

from __future__ import annotations

from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.states import GROUPED
from lmtpref.protocol.syntax import Parameters, Path, parse_bdat, parse_mail, parse_rcpt, split_verb
from lmtpref.transcripts.script_frames import Frame

# Commands after which more may be sent before their replies (RFC 2920 section 3.1; Postfix documents it for its XFORWARD).


def command_agrees(expected: bytes, came: bytes, *, strict: bool) -> bool:
    """Return whether `came` is the command line `expected`.

    Verbs and parameter names match in any case, paths as mailboxes (the local-part in the same case: RFC 5321 section 2.4).
    Parameters that the script does not have, and LHLO's argument, may be anything.  With `strict`, only identical octets match.
    """
    if expected == came or strict:
        return expected == came
    try:
        (verb, argument), (verb_came, argument_came) = map(_split, (expected, came))
        return verb == verb_came and _arguments_agree(verb, argument, argument_came)
    except PeerError:
        return False


def may_follow(last: Frame | None, frame: Frame, *, pipelining: bool, strict: bool) -> bool:
    """Return whether `frame` may come before the replies to `last` were sent.

    It may if it does in the transcript.  Unless `strict`, it also may as far as RFC 2920 section 3.1 allows, but not BDAT
    before the replies to MAIL and RCPT (RFC 3030 section 2).
    """
    if last is None or last.group == frame.group:
        return last is not None
    if strict or not pipelining:
        return False
    return last.kind == "content" or (last.verb in GROUPED and frame.verb != "BDAT")


def _split(line: bytes) -> tuple[str, str]:
    return split_verb(line.removesuffix(b"\r\n").decode("utf-8", "surrogateescape"))


def _arguments_agree(verb: str, expected: str, came: str) -> bool:
    if verb == "LHLO":
        return bool(expected) == bool(came)
    if verb == "MAIL":
        return _envelope_agrees(parse_mail(expected), parse_mail(came))
    if verb == "RCPT":
        return _envelope_agrees(parse_rcpt(expected), parse_rcpt(came))
    if verb == "BDAT":
        return parse_bdat(expected) == parse_bdat(came)
    return expected == came


def _envelope_agrees(expected: tuple[Path | None, Parameters], came: tuple[Path | None, Parameters]) -> bool:
    (path, parameters), (path_came, parameters_came) = expected, came
    named = {name: (value or "").upper() for name, value in parameters.items()}
    there = {name: (value or "").upper() for name, value in parameters_came.items()}
    return _mailbox(path) == _mailbox(path_came) and named.items() <= there.items()


def _mailbox(path: Path | None) -> tuple[str, str] | None:
    if path is None:
        return None
    return (path.local.lower() if path.is_postmaster else path.local), a_labels(path.domain)
