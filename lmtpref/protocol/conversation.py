"""The effect of each command on a conversation: one method for each verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lmtpref.protocol import catalogue as say
from lmtpref.protocol.answering import Answering
from lmtpref.protocol.commands import Command
from lmtpref.protocol.events import Data, Lhlo, Mail, Message, Rcpt
from lmtpref.protocol.handler import Envelope, Recipient
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.states import OUT_OF_ORDER, State, out_of_order
from lmtpref.protocol.syntax import check_charset, expect_no_argument, parse_bdat
from lmtpref.protocol.transaction import Chunk, Transaction
from lmtpref.protocol.xforward import UNAVAILABLE, parse_xforward


class Conversation(Answering):
    """The commands of a conversation: each verb has a method that sends a reply or calls the handler.

    A method raises PeerError for a client error.
    """

    # Commands ---------------------------------------------------------------------------------------------------

    def carry_out(self, command: Command) -> None:
        """Carry out one command, or reject it because of a client error."""
        try:
            self._perform(command)
        except PeerError as error:
            self.reject(error.reply, flush=not command.grouped)

    def _perform(self, command: Command) -> None:
        if command.mistake is not None:
            raise PeerError(command.mistake)
        verb = command.verb
        # BDAT is rejected after its octets.
        if (self._tls_required or verb in OUT_OF_ORDER[self.state]) and verb != "BDAT":
            self._check_order(verb)
        if not command.is_plain:
            check_charset(verb, command.argument, smtputf8=self.transaction is not None and self.transaction.envelope.smtputf8)
        if command.wrong_argument is not None:
            raise PeerError(command.wrong_argument)
        _COMMANDS[verb](self, command)

    def _check_order(self, verb: str) -> None:
        """Check that the state allows `verb`.  Raises PeerError if not."""
        if refusal := out_of_order(verb, self.state, tls_needed=self.peer.owes_tls(self.settings.require_tls)):
            raise PeerError(refusal)

    def _lhlo(self, command: Command) -> None:
        if not command.argument:
            raise PeerError(say.LHLO_SYNTAX_501)
        self.ask(Lhlo, self.peer, command.argument.partition(" ")[0])

    def _mail(self, command: Command) -> None:
        if self.next_handler is not None:
            self.handler, self.next_handler = self.next_handler, None
        if command.declared_octets > self.settings.max_message_octets:
            self.send(say.DECLARED_TOO_BIG_552, flush=False)
            return
        if self.envelope_room < 0:
            self.send(say.BUSY_452, flush=False)
            return
        self.ask(Mail, Envelope(self.peer, command.path, command.parameters, [], b"", self._origin))

    def _rcpt(self, command: Command) -> None:
        if command.parameters:
            raise PeerError(say.UNKNOWN_PARAMETER_555)
        assert command.path is not None
        assert self.transaction is not None
        envelope = self.transaction.envelope
        if len(envelope.recipients) >= self.settings.max_recipients:
            self.send(say.TOO_MANY_RECIPIENTS_452, flush=False)
            return
        if self.transaction.envelope_octets > self.envelope_room:
            self.send(say.BUSY_452, flush=False)
            return
        self.ask(Rcpt, envelope, Recipient(command.path, command.parameters))

    def _data(self, command: Command) -> None:
        expect_no_argument(command.argument)
        transaction = self.current_transaction
        if transaction.envelope.parameters and transaction.envelope.binary:
            raise PeerError(say.NEED_BDAT_503)
        self.ask(Data, transaction.envelope)

    def _bdat(self, command: Command) -> None:
        octets, last, refusal = parse_bdat(command.argument)
        self._begin_chunk(octets, last=last, refusal=refusal)

    def _begin_chunk(self, octets: int, *, last: bool, refusal: Reply | None) -> None:
        """Begin a chunk; `refusal` rejects the message, and the octets are read all the same."""
        self.chunk = Chunk(octets, last)
        is_first = self.state is State.RECIPIENT
        if is_first:
            self.state = State.CHUNKS
        if self.state is State.CHUNKS and refusal:
            self.current_transaction.refuse(refusal)
        elif is_first:
            self.ask(Data, self.current_transaction.envelope)

    def _rset(self, command: Command) -> None:
        expect_no_argument(command.argument)
        self.abandon()
        self._origin = UNAVAILABLE
        self.send(say.OK_250, flush=False)

    def _noop(self, _command: Command) -> None:
        self.send(say.OK_250)

    def _vrfy(self, command: Command) -> None:
        if not command.argument:
            raise PeerError(say.VRFY_SYNTAX_501)
        self.send(say.NOT_VERIFIED_252)

    def _help(self, _command: Command) -> None:
        self.send(say.HELP_214)

    def _xforward(self, command: Command) -> None:
        if not self.peer.known:
            raise PeerError(say.STRANGER_550)
        self._origin = {**self._origin, **parse_xforward(command.argument)}
        self.send(say.XFORWARD_OK_250, flush=False)

    def _starttls(self, command: Command) -> None:
        expect_no_argument(command.argument)
        if not self.settings.starttls:
            raise PeerError(say.NOT_IMPLEMENTED_502)
        if self.peer.secure:
            raise PeerError(say.ALREADY_SECURE_503)
        if self._input_waits():
            # Plaintext after STARTTLS may have been injected to be executed inside TLS (RFC 3207 section 4).
            self.close()
            self.send(say.PIPELINED_TLS_554)
            return
        self.state = State.TLS
        self.send(say.READY_FOR_TLS_220)

    def _input_waits(self) -> bool:
        """Return whether the peer has sent more than the current command."""
        return False

    def _quit(self, command: Command) -> None:
        expect_no_argument(command.argument)
        self.close()
        self.send(say.BYE_221)

    def reject_chunk(self, command: Command, reply: Reply) -> None:
        """Read and discard the octets of a chunk, and reject its message (RFC 3030 section 2)."""
        try:
            octets, last, refusal = parse_bdat(command.argument)
        except PeerError as error:
            self.reject(error.reply, flush=True)
        else:
            self._begin_chunk(octets, last=last, refusal=refusal or reply)

    # The message ------------------------------------------------------------------------------------------------

    def end_of_data(self, content: bytes | Reply) -> None:
        """End the content of DATA: `content` is the text before the final dot, or the reply that rejects it."""
        transaction = self.current_transaction
        transaction.end_data(content)
        self._end_of_content(transaction)

    def end_of_chunk(self) -> None:
        """End a chunk after its octets were kept or skipped (RFC 3030 section 2, RFC 2033 section 4.3)."""
        assert self.chunk is not None
        last, self.chunk = self.chunk.last, None
        if self.state is State.CHUNKS and last:
            transaction = self.current_transaction
            transaction.end_chunks()
            self._end_of_content(transaction)
        elif self.state is State.CHUNKS:
            self.send(self.current_transaction.refusal or say.CHUNK_OK_250)
        elif self.state is State.SENDER and last:
            self.abandon()  # without a recipient there is no final reply
        else:
            self._check_order("BDAT")  # no other state allows it

    def _end_of_content(self, transaction: Transaction) -> None:
        self.state = State.REPLIES
        if transaction.refusal is None:
            for observer in self.observers:
                observer.message(transaction.envelope)
            self.ask(Message, transaction.envelope)
        else:
            self._reject_all(transaction.refusal)


_COMMANDS: Mapping[str, Callable[[Conversation, Command], None]] = {
    "LHLO": Conversation._lhlo,
    "MAIL": Conversation._mail,
    "RCPT": Conversation._rcpt,
    "DATA": Conversation._data,
    "BDAT": Conversation._bdat,
    "RSET": Conversation._rset,
    "NOOP": Conversation._noop,
    "VRFY": Conversation._vrfy,
    "HELP": Conversation._help,
    "XFORWARD": Conversation._xforward,
    "STARTTLS": Conversation._starttls,
    "QUIT": Conversation._quit,
}
