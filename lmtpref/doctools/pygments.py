"""A Pygments lexer for transcripts."""

from __future__ import annotations

from typing import Any, ClassVar

from pygments.lexer import RegexLexer, bygroups, default
from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, Punctuation, Text, Whitespace

_MARK = r"<(?:close|pause [^<>\n]*|raw [^<>\n]*)>"
_VERBS = r"LHLO|HELO|EHLO|MAIL|RCPT|DATA|BDAT|RSET|NOOP|VRFY|EXPN|HELP|QUIT|STARTTLS|XFORWARD"


def _groups(*tokens: object) -> object:
    """Return a token for each group of a pattern."""
    return bygroups(*tokens)  # type: ignore[no-untyped-call]  # types-Pygments leaves it untyped


class LmtpLexer(RegexLexer):
    """A lexer for transcripts of LMTP, which accepts any text without error tokens."""

    name = "LMTP transcript"
    aliases: ClassVar[list[str]] = ["lmtp", "dialogue"]  # a dialogue may be SMTP
    filenames: ClassVar[list[str]] = ["*.lmtp"]
    url = "https://www.rfc-editor.org/rfc/rfc2033"

    tokens: ClassVar[dict[str, list[Any]]] = {
        "root": [
            (r"^(#)( )([a-z]+)(:)(.*)$", _groups(Comment, Whitespace, Comment.Special, Punctuation, Comment)),
            (rf"^([CS]:)( )({_MARK})$", _groups(Name.Tag, Whitespace, Operator)),
            (rf"^(C:)( )((?i:{_VERBS}))(?=[ \n]|\Z)(.*)$", _groups(Name.Tag, Whitespace, Keyword, Text)),
            (r"^(C:)( ?)(.*)$", _groups(Name.Tag, Whitespace, Text)),
            (r"^(S:)( )([23]\d\d)([ -]?)", _groups(Name.Tag, Whitespace, Generic.Inserted, Punctuation), "reply"),
            (r"^(S:)( )([45]\d\d)([ -]?)", _groups(Name.Tag, Whitespace, Generic.Deleted, Punctuation), "reply"),
            (r"\n", Whitespace),
            (r"[^\n]+", Text),
        ],
        "reply": [
            (r"[245]\.\d{1,3}\.\d{1,3}(?![^ \n])", Number, "text"),
            default("text"),
        ],
        "text": [
            (r"\n", Whitespace, "#pop:2"),
            (r"\[\.\.\.\]", Operator),
            (r"[^\[\n]+|\[", Text),
        ],
    }
