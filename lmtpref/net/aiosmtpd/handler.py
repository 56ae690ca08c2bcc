"""aiosmtpd's interfaces on our engine: handlers written for aiosmtpd run unchanged, and the engine adds correct LMTP.

===============  ======================  ====================================================================
our hook         aiosmtpd's hook         what its answer decides
===============  ======================  ====================================================================
lhlo             handle_EHLO             a rejection, or the usual reply
mail, rcpt       handle_MAIL, _RCPT      the reply
message          handle_DATA             one reply for each recipient, returned by `deliver`
reset            handle_RSET             nothing
(any of these)   handle_exception        the rejection, if the hook raised
===============  ======================  ====================================================================

handle_HELO, _NOOP, _VRFY, _QUIT, _AUTH, _STARTTLS and _PROXY are never called: the engine answers alone.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiosmtpd.smtp import Envelope as AiosmtpdEnvelope
from aiosmtpd.smtp import Session as AiosmtpdSession

from lmtpref.net.aiosmtpd.replies import replies_in
from lmtpref.protocol.catalogue import LOCAL_ERROR_451
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.extensions import Offer, lhlo_reply
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.maybe import resolve, waits
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.syntax import Parameters

log = logging.getLogger(__name__)

Hooks = Mapping[str, Callable[..., object]]
Read = Callable[[object], list[Reply]]  # a status -> the replies in it; none for MISSING, which is the usual reply
Settle = Callable[[list[Reply]], Reply | None]  # those replies -> what our hook answers

_NEVER_CALLED = frozenset({"HELO", "NOOP", "VRFY", "QUIT", "AUTH", "STARTTLS", "PROXY"})


@dataclass(slots=True, eq=False)
class AiosmtpdConversation:
    """One connection: what an aiosmtpd handler gets as `server`, with the attributes of aiosmtpd's SMTP that handlers read.

    `loop` is the event loop that runs the hooks; None in memory, where none runs.  `kept` counts the entries of
    `envelope.rcpt_tos` that belong to accepted recipients; `final` holds the final replies not yet given out.
    """

    event_handler: object
    hooks: Hooks
    hostname: str
    data_size_limit: int
    loop: Any  # asyncio.AbstractEventLoop, but for None; aiosmtpd's Session wants it unconditionally
    session: AiosmtpdSession
    envelope: AiosmtpdEnvelope = field(default_factory=AiosmtpdEnvelope)
    enable_SMTPUTF8: bool = True  # noqa: N815  (aiosmtpd's name)
    kept: int = 0
    final: deque[Reply] = field(default_factory=deque)


class AiosmtpdHandler(Handler):
    """A handler that calls the hooks of `handler`, which was written for aiosmtpd.

    `settings` are those of the server, for handlers that read `server.hostname` or `server.data_size_limit`.
    With `decode_data`, `envelope.content` is a str, decoded as aiosmtpd decodes it.
    Raises UsageError for a handler whose messages would be lost, or whose handle_EHLO takes neither 4 nor 5 arguments.
    """

    def __init__(self, handler: object, settings: Settings | None = None, *, decode_data: bool = False) -> None:
        _check(handler)
        self.handler = handler
        self._settings = settings or Settings()
        self._decode_data = decode_data

    def connect(self, peer: Peer) -> Answer:
        """Create aiosmtpd's Session for this connection, and look up the handler's hooks, as aiosmtpd does."""
        loop = _running_loop()
        hostname, limit = self._settings.hostname, self._settings.max_message_octets
        peer.state = AiosmtpdConversation(self.handler, _hooks(self.handler), hostname, limit, loop, _session(peer, loop))
        return None

    def lhlo(self, peer: Peer, name: str) -> Answer:
        """Call handle_EHLO, which may reject.  The engine alone lists extensions, as it cannot provide those that a handler adds."""
        conversation: AiosmtpdConversation = peer.state
        conversation.envelope = AiosmtpdEnvelope()
        if peer.secure and not conversation.session.ssl:
            conversation.session = _session(peer, conversation.loop)  # what was said before TLS is forgotten (RFC 3207 section 4.2)
        session = conversation.session
        session.extended_smtp = True
        before = session.host_name
        offered = lhlo_reply(Offer(self._settings, peer.known, peer.secure))
        with_responses = "EHLO" in conversation.hooks and _is_new_ehlo(conversation.hooks["EHLO"])

        def settle(replies: list[Reply]) -> Reply | None:
            for reply in replies:
                if not reply.positive:
                    return reply
                _warn_of_surplus(reply.lines[1:] if with_responses else reply.lines, offered)
            session.host_name = name if session.host_name == before else session.host_name
            return None

        arguments = (name, str(offered).split("\n")) if with_responses else (name,)
        return self._ask("EHLO", conversation, *arguments, read=_read_ehlo, settle=settle)

    def mail(self, envelope: Envelope) -> Answer:
        """Call handle_MAIL with a new aiosmtpd Envelope, and fill in what the hook left empty."""
        conversation: AiosmtpdConversation = envelope.peer.state
        theirs = conversation.envelope = AiosmtpdEnvelope()
        conversation.kept = 0
        theirs.smtp_utf8 = envelope.smtputf8
        address = str(envelope.reverse_path or "<>")
        options = _options(envelope.parameters)

        def settle(replies: list[Reply]) -> Reply | None:
            if all(reply.positive for reply in replies):
                theirs.mail_from = theirs.mail_from or address
                theirs.mail_options = theirs.mail_options or options
            return _only(replies)

        return self._ask("MAIL", conversation, address, list(options), read=partial(replies_in, success="2.1.0"), settle=settle)

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Call handle_RCPT.  On acceptance, `rcpt_tos` keeps what the hook added; if it added nothing, the address is added."""
        conversation: AiosmtpdConversation = envelope.peer.state
        theirs = _rewound(conversation)
        address = str(recipient.path)

        def settle(replies: list[Reply]) -> Reply | None:
            if all(reply.positive for reply in replies):
                if len(theirs.rcpt_tos) == conversation.kept:
                    theirs.rcpt_tos.append(address)
                conversation.kept = len(theirs.rcpt_tos)
            return _only(replies)

        return self._ask("RCPT", conversation, address, [], read=partial(replies_in, success="2.1.5"), settle=settle)

    def message(self, envelope: Envelope) -> Answer:
        """Call handle_DATA once.  One reply applies to every recipient; N replies are one for each."""
        conversation: AiosmtpdConversation = envelope.peer.state
        theirs = _rewound(conversation)
        theirs.original_content = envelope.content
        theirs.content = envelope.content.decode("utf-8", "surrogateescape") if self._decode_data else envelope.content
        owed = len(envelope.recipients)

        def settle(replies: list[Reply]) -> None:
            conversation.final = deque(map(_without_421, replies) if len(replies) > 1 else replies * owed)

        return self._ask("DATA", conversation, read=partial(replies_in, success="2.0.0", owed=owed), settle=settle)

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:  # noqa: ARG002
        """Return the next reply from handle_DATA."""
        final: deque[Reply] = envelope.peer.state.final
        return final.popleft() if final else None

    def reset(self, envelope: Envelope) -> Answer:
        """Call handle_RSET with a new aiosmtpd Envelope; its answer is ignored."""
        conversation: AiosmtpdConversation = envelope.peer.state
        conversation.envelope = AiosmtpdEnvelope()
        return self._ask("RSET", conversation, read=lambda _: [], settle=_only)

    def _ask(self, name: str, conversation: AiosmtpdConversation, *arguments: object, read: Read, settle: Settle) -> Answer:
        """Return the result of the handler's hook `name`: directly, or as an awaitable if the hook is one."""
        hook = conversation.hooks.get(name)
        if hook is None:
            return settle([])
        call = partial(hook, conversation, conversation.session, conversation.envelope, *arguments)
        if excuse := conversation.hooks.get("exception"):
            return _ask_with_excuse(call, excuse, read, settle)
        status = call()
        return _awaited(status, read, settle) if waits(status) else settle(read(status))


async def _awaited(status: Awaitable[object], read: Read, settle: Settle) -> Reply | None:
    return settle(read(await status))


async def _ask_with_excuse(call: Callable[[], object], excuse: Callable[..., object], read: Read, settle: Settle) -> Reply | None:
    """Ask as `_ask` does; if the hook raises, handle_exception chooses the rejection.  An exception never becomes a success."""
    try:
        return settle(read(await resolve(call())))
    except Exception as error:
        log.exception("a hook of the handler failed; handle_exception chooses the reply")
        replies = replies_in(await resolve(excuse(error)), success="2.0.0")
        return settle([reply for reply in replies if not reply.positive] or [LOCAL_ERROR_451])


def _without_421(reply: Reply) -> Reply:
    """Return `reply`, or a 451 if it is a 421: a 421 would close the connection before the other recipients are answered."""
    return Reply(451, reply.enhanced, *reply.lines) if reply.code == 421 else reply


def _only(replies: list[Reply]) -> Reply | None:
    return replies[0] if replies else None


def _read_ehlo(status: object) -> list[Reply]:
    return replies_in("\r\n".join(map(str, status)) if isinstance(status, list) else status, success="2.0.0")


def _rewound(conversation: AiosmtpdConversation) -> AiosmtpdEnvelope:
    """Return the open envelope, without the entries that a rejecting or raising hook left in `rcpt_tos`."""
    del conversation.envelope.rcpt_tos[conversation.kept :]
    return conversation.envelope


def _hooks(handler: object) -> Hooks:
    return {name.removeprefix("handle_"): getattr(handler, name) for name in dir(handler) if name.startswith("handle_")}


def _check(handler: object) -> None:
    """Raise UsageError for a handler that cannot work here, and warn of hooks that are never called."""
    hooks = _hooks(handler)
    if "DATA" not in hooks and hasattr(handler, "process_message"):
        raise UsageError("process_message is not called (aiosmtpd deprecates it); name it handle_DATA")
    if "EHLO" in hooks:
        _is_new_ehlo(hooks["EHLO"])
    if idle := _NEVER_CALLED & hooks.keys():
        log.warning("%s: never called here: %s", type(handler).__name__, ", ".join(f"handle_{name}" for name in sorted(idle)))


def _is_new_ehlo(hook: Callable[..., object]) -> bool:
    """Whether `hook` takes the list of responses as well: aiosmtpd counts 4 arguments or 5."""
    count = len(inspect.signature(hook).parameters)
    if count not in {4, 5}:
        raise UsageError(f"handle_EHLO takes 4 or 5 arguments, not {count}")
    return count == 5


def _warn_of_surplus(lines: Iterable[str], offered: Reply) -> None:
    if surplus := set(lines) - {*offered.lines, "HELP"}:
        log.warning("handle_EHLO adds extensions that this server does not support and does not offer: %s", ", ".join(sorted(surplus)))


def _options(parameters: Parameters) -> list[str]:
    return [name if value is None else f"{name}={value.upper()}" for name, value in parameters.items()]


def _session(peer: Peer, loop: Any) -> AiosmtpdSession:  # noqa: ANN401  (see AiosmtpdConversation.loop)
    session = AiosmtpdSession(loop)
    session.peer = _peer_name(peer)
    # The hooks learn only that TLS is active.
    session.ssl = {"secure": True} if peer.secure else None
    return session


def _peer_name(peer: Peer) -> Any:  # noqa: ANN401  (aiosmtpd declares str, and gives what the socket calls its peer)
    """Return the peer as a socket names it: (address, port), two more numbers for IPv6, empty for a Unix socket."""
    if peer.address is None:
        return ""
    return (peer.address, peer.port, 0, 0) if ":" in peer.address else (peer.address, peer.port)


def _running_loop() -> Any:  # noqa: ANN401  (see AiosmtpdConversation.loop)
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
