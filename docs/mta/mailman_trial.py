"""Our runner and Mailman's own, side by side in one process that `mailman_site.Site.execute` starts.

Mailman's own runner answers on one port and ours on another; what each queues is compared, and what ours foresees is compared
with what Mailman's incoming runner does and logs.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import random
import smtplib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zope.event
from mailman.app.lifecycle import create_list
from mailman.config import config
from mailman.database.model import Model
from mailman.interfaces.action import Action
from mailman.interfaces.autorespond import ResponseAction
from mailman.interfaces.bans import IBanManager
from mailman.interfaces.domain import IDomainManager
from mailman.interfaces.mailinglist import IHeaderMatchList
from mailman.interfaces.member import MemberRole
from mailman.interfaces.usermanager import IUserManager
from mailman.runners.incoming import IncomingRunner
from mailman.runners.lmtp import LMTPController, LMTPHandler
from mailman.testing.documentation import dump_msgdata
from mailman.testing.helpers import get_queue_messages
from mailman.utilities.datetime import now
from ports import free_port
from sqlalchemy import select
from zope.component import getUtility

from lmtpref import Server
from lmtpref.mailman.handler import MailmanHandler
from lmtpref.mailman.messages import metadata
from lmtpref.mailman.recipients import find_recipient
from lmtpref.mailman.settings import RunnerSettings
from lmtpref.mailman.verdict import judge

ACTIONS = {"ACCEPT": "accept", "HOLD": "hold", "DISCARD": "discard", "REJECT": "reject"}


class Log(logging.Handler):
    """Keeps the lines of a log."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


class Trial:
    """Both runners, and Mailman's incoming runner."""

    def __init__(self) -> None:
        settings = RunnerSettings(lookup_seconds=60)  # for a machine with other work
        self.ours = Server(MailmanHandler(settings), settings=settings.settings).start()
        self.theirs = LMTPController(LMTPHandler(), hostname="127.0.0.1", port=free_port())
        self.theirs.start()
        self.incoming = IncomingRunner("in")
        self.vette, self.errors = Log("mailman.vette"), Log("mailman.error")

    def close(self) -> None:
        """Stop both runners."""
        self.ours.stop()
        self.theirs.stop()

    def send(self, port: int, sender: str, recipient: str, content: bytes) -> str:
        """Return the code of a runner's last reply."""
        with smtplib.LMTP("127.0.0.1", port) as client:
            client.ehlo()
            codes = [client.docmd(f"MAIL FROM:<{sender}>")[0], client.docmd(f"RCPT TO:<{recipient}>")[0]]
            if codes == [250, 250]:
                with contextlib.suppress(smtplib.SMTPDataError):
                    codes.append(client.data(content)[0])
            return str(codes[-1])

    def compare(self, sender: str, recipient: str, content: bytes) -> str:
        """Return the queue, or the reply code, that both runners agree on; or both if they differ."""
        came = [(self.send(port, sender, recipient, content), *taken()) for port in (self.theirs.port, self.ours.port)]
        for _, _, data in came:
            if data:
                assert data.pop("received_time")
        theirs, ours = came
        return _in_words(theirs[0], theirs[2]) if theirs == ours else f"{_in_words(theirs[0], theirs[2])} != {_in_words(ours[0], ours[2])}"

    def foreseen(self, recipient: str, sender: str, content: bytes) -> str:
        """Return the action that our runner foresees."""
        target = find_recipient(recipient)
        assert target
        found = judge(target.list_id, content, sender, metadata(target, len(content), now()))
        return str(found.action) if found else "gone"

    def happens(self, recipient: str, sender: str, content: bytes) -> str:
        """Return what Mailman's incoming runner does with the post, by its log."""
        code = self.send(self.theirs.port, sender, recipient, content)
        assert code == "250", code
        return self.processed()

    def processed(self) -> str:
        """Return what Mailman's incoming runner does with what is in its queue, by its log."""
        self.vette.lines.clear()
        self.errors.lines.clear()
        self.incoming._one_iteration()  # noqa: SLF001 - one turn of the runner, without its loop
        config.db.commit()
        for line in self.vette.lines:
            if (word := line.partition(":")[0]) in ACTIONS:
                return ACTIONS[word]
            if "replied and discarded" in line:
                return "discard"
        return "shunt" if any("SHUNTING" in line for line in self.errors.lines) else "nothing"


def _in_words(code: str, data: dict[str, Any] | None) -> str:
    return f"{code} {data['queue']}" if data else code


def taken() -> tuple[bytes, dict[str, Any] | None]:
    """Take the one new file out of the queues that a runner for LMTP writes; its pickled message and its metadata, with the queue."""
    files = [file for queue in ("in", "command", "bounces") for file in Path(config.QUEUE_DIR, queue).glob("*.pck")]
    if not files:
        return b"", None
    (file,) = files
    with file.open("rb") as stream:
        pickle.load(stream)  # noqa: S301 - Mailman wrote it
        message_octets = stream.tell()
        data = pickle.load(stream)  # noqa: S301 - as above
    message = file.read_bytes()[:message_octets]
    file.unlink()
    return message, data | {"queue": file.parent.name}


def snapshot() -> tuple[dict[str, list[tuple[object, ...]]], list[str]]:
    """Return every row of the database, and every file of Mailman with its size but for the logs."""
    with config.db.engine.connect() as connection:
        rows = {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in Model.metadata.sorted_tables
        }
    var = Path(config.VAR_DIR)
    files = [
        f"{path} {path.stat().st_size}"
        for path in sorted(var.rglob("*"))
        if path.is_file() and "logs" not in path.parts and path.suffix not in {".db", ".db-journal"}
    ]
    return rows, files


@contextlib.contextmanager
def recorded_events() -> Iterator[list[object]]:
    """The events that Mailman's subscribers hear while this lasts."""
    heard: list[object] = []
    zope.event.subscribers.append(heard.append)
    try:
        yield heard
    finally:
        zope.event.subscribers.remove(heard.append)


class Generator:
    """Lists, members, bans and posts, all from one seed."""

    SENDERS = ("anne@home.test", "anne@work.test", "bart@home.test", "cris@home.test", "dana@spam.test", "elle@home.test", "fred@home.test")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - it makes examples, not secrets

    def chance(self, of: float) -> bool:
        """Return true with this probability."""
        return self.random.random() < of

    def domain(self) -> None:
        """Make the domain, the users, and a global ban."""
        getUtility(IDomainManager).add("lists.example", alias_domain="lists.test")
        users = getUtility(IUserManager)
        anne = users.make_user("anne@home.test")
        anne.link(users.create_address("anne@work.test"))
        for name in self.SENDERS[3:]:
            users.make_user(name)
        for address in users.addresses:
            address.verified_on = now()
        IBanManager(None).ban("^.*@global-ban\\.test$")

    def mailing_list(self, number: int) -> str:
        """Make a list, and return its address."""
        choose = self.random.choice
        mlist = create_list(f"list{number}@lists.example")
        mlist.send_welcome_message = False
        mlist.admin_immed_notify = False
        mlist.default_nonmember_action = choose(list(Action))
        mlist.default_member_action = choose([Action.defer, Action.defer, *Action])
        mlist.emergency = self.chance(0.1)
        mlist.administrivia = self.chance(0.5)
        mlist.require_explicit_destination = self.chance(0.5)
        mlist.max_message_size = choose([1, 40])
        mlist.posting_chain = choose(["default-posting-chain"] * 6 + ["accept", "reject", "hold"])
        if self.chance(0.1):
            mlist.autorespond_postings = ResponseAction.respond_and_discard
            mlist.autoresponse_postings_text = "On leave."
        if self.chance(0.3):
            mlist.moderator_password = config.password_context.encrypt("sesame").encode()
        self._people(mlist)
        if self.chance(0.4):
            IBanManager(mlist).ban(choose(["dana@spam.test", "^.*@spam\\.test$", "^(?!anne).*@home\\.test$"]))
        for pattern in self.random.sample(["^yes", "maybe", "(unclosed"], choose([0, 0, 1, 2])):
            IHeaderMatchList(mlist).append("X-Spam", pattern, choose([None, "reject", "discard", "hold", "accept"]))
        return str(mlist.fqdn_listname)

    def _people(self, mlist: Any) -> None:  # noqa: ANN401 - Mailman has no types
        users, choose = getUtility(IUserManager), self.random.choice
        for name in self.SENDERS[:1] + self.SENDERS[3:]:
            if self.chance(0.5):
                role = choose([MemberRole.member, MemberRole.member, MemberRole.nonmember])
                member = mlist.subscribe(users.get_address(name), role)
                member.moderation_action = choose([None, None, *Action])
        for action in ("accept", "hold", "reject", "discard"):
            if self.chance(0.2):
                setattr(
                    mlist, f"{action}_these_nonmembers", [choose([*self.SENDERS, "^.*@home\\.test$", "@list0@lists.example", "^(broken"])]
                )

    def post(self, address: str) -> tuple[str, bytes]:
        """Return the reverse-path and the content of a post."""
        choose = self.random.choice
        sender = choose(
            [*self.SENDERS, *self.SENDERS, "", "SRS0=x=home.test=anne@relay.test", "prvs=1=anne@home.test", "mal@global-ban.test"]
        )
        lines = [
            f"From: {choose([sender, *self.SENDERS, 'Anne <ANNE@home.test>', 'not an address'])}",
            f"Message-ID: <{self.random.random()}>",
        ]
        lines += [f"To: {choose([address, address, 'other@home.test'])}"] if self.chance(0.9) else []
        lines += [f"Subject: {choose(['Aardvarks', 'Aardvarks', 'unsubscribe', ''])}"] if self.chance(0.9) else []
        for header, values in {
            "Reply-To": self.SENDERS,
            "Sender": self.SENDERS,
            "X-Spam": ["yes", "maybe", "no"],
            "Approved": ["sesame", "wrong"],
            "List-Post": [address, f"<mailto:{address}>"],
            "Precedence": ["bulk"],
        }.items():
            lines += [f"{header}: {choose(values)}"] if self.chance(0.12) else []
        body = choose(["Hello.", "Hello.", "unsubscribe", "Approved: sesame\r\nHello.", "x\r\n" * 600])
        return sender, ("\r\n".join(lines) + f"\r\n\r\n{body}\r\n").encode()


def agree(lists: int, posts: int, seed: int) -> dict[str, int]:
    """Return how often each pair of what was foreseen and what happened came up, for `posts` to each of `lists` generated lists.

    Raises AssertionError: if a question to our runner changed the database or a file, or caused an event.
    """
    generator = Generator(seed)
    generator.domain()
    addresses = [generator.mailing_list(number) for number in range(lists)]
    config.db.commit()
    trial, pairs = Trial(), Counter[str]()
    try:
        for address in addresses * posts:
            sender, content = generator.post(address)
            before = snapshot()
            with recorded_events() as events:
                foreseen = trial.foreseen(address, sender, content)
            assert (snapshot(), events) == (before, [])
            pairs[f"foreseen {foreseen}, then {trial.happens(address, sender, content)}"] += 1
    finally:
        trial.close()
    return dict(sorted(pairs.items()))


def cast() -> None:
    """Make the lists and people of the verdict cases."""
    getUtility(IDomainManager).add("lists.example", alias_domain="lists.test")
    users = getUtility(IUserManager)
    anne = users.make_user("anne@home.test")
    anne.link(users.create_address("anne@work.test"))
    for name in ("cris@home.test", "elle@home.test"):
        users.make_user(name)
    for address in users.addresses:
        address.verified_on = now()
    actions = {
        "ant": Action.reject,
        "bee": Action.accept,
        "cat": Action.hold,
        "dog": Action.discard,
        "eel": Action.reject,
        "fly": Action.reject,
    }
    lists = {name: create_list(f"{name}@lists.example") for name in actions}
    for name, action in actions.items():
        lists[name].send_welcome_message = False
        lists[name].admin_immed_notify = False
        lists[name].default_nonmember_action = action
    ant = lists["ant"]
    ant.subscribe(users.get_address("anne@home.test"))
    ant.subscribe(users.get_address("cris@home.test")).moderation_action = Action.hold
    lists["cat"].subscribe(users.get_address("elle@home.test"))
    ant.accept_these_nonmembers = ["^.*@partner\\.test$", "@cat@lists.example"]
    ant.discard_these_nonmembers = ["fred@home.test"]
    ant.moderator_password = config.password_context.encrypt("sesame").encode()
    IBanManager(ant).ban("dana@spam.test")
    IBanManager(None).ban("^.*@global-ban\\.test$")
    IHeaderMatchList(ant).append("X-Spam", "^yes", "reject")
    IHeaderMatchList(ant).append("X-Spam", "^junk", "discard")
    lists["eel"].emergency = True
    lists["fly"].autorespond_postings = ResponseAction.respond_and_discard
    lists["fly"].autoresponse_postings_text = "On leave."


# The list, the reverse-path, the author, more header lines, and how the body begins.
CASES: dict[str, tuple[str, str, str, str, str]] = {
    "a member": ("ant", "anne@home.test", "anne@home.test", "", ""),
    "her other address": ("ant", "anne@work.test", "anne@work.test", "", ""),
    "her forwarder": ("ant", "SRS0=abc=XY=home.test=anne@relay.test", "anne@home.test", "", ""),
    "her signed sender": ("ant", "prvs=123=anne@home.test", "anne@home.test", "", ""),
    "a null sender, her From": ("ant", "", "anne@home.test", "", ""),
    "a nonmember": ("ant", "bart@home.test", "bart@home.test", "", ""),
    "a nonmember, her From": ("ant", "bart@home.test", "anne@home.test", "", ""),
    "a nonmember, her Reply-To": ("ant", "bart@home.test", "bart@home.test", "Reply-To: anne@home.test\n", ""),
    "Approved, in the header": ("ant", "bart@home.test", "bart@home.test", "Approved: sesame\n", ""),
    "Approved, but wrong": ("ant", "bart@home.test", "bart@home.test", "Approved: open\n", ""),
    "Approved, in the body": ("ant", "bart@home.test", "bart@home.test", "", "Approved: sesame\n\n"),
    "a moderated member": ("ant", "cris@home.test", "cris@home.test", "", ""),
    "a banned sender": ("ant", "dana@spam.test", "dana@spam.test", "", ""),
    "a banned sender, her From": ("ant", "dana@spam.test", "anne@home.test", "", ""),
    "banned from the site": ("ant", "mal@global-ban.test", "mal@global-ban.test", "", ""),
    "an accepted pattern": ("ant", "pat@partner.test", "pat@partner.test", "", ""),
    "a member of another list": ("ant", "elle@home.test", "elle@home.test", "", ""),
    "a discarded nonmember": ("ant", "fred@home.test", "fred@home.test", "", ""),
    "a header that rejects": ("ant", "anne@home.test", "anne@home.test", "X-Spam: yes\n", ""),
    "a header that discards": ("ant", "anne@home.test", "anne@home.test", "X-Spam: junk\n", ""),
    "the list's own post": ("ant", "anne@home.test", "anne@home.test", "List-Post: ant@lists.example\n", ""),
    "no valid sender": ("ant", "", "nothing", "", ""),
    "over max_message_size": ("ant", "anne@home.test", "anne@home.test", "", ("x" * 70 + "\n") * 700),
    "a command in the subject": ("ant", "anne@home.test", "anne@home.test", "Subject: unsubscribe\n", ""),
    "nonmembers accepted": ("bee", "bart@home.test", "bart@home.test", "", ""),
    "nonmembers held": ("cat", "bart@home.test", "bart@home.test", "", ""),
    "nonmembers discarded": ("dog", "bart@home.test", "bart@home.test", "", ""),
    "an emergency": ("eel", "bart@home.test", "bart@home.test", "", ""),
    "answered automatically": ("fly", "bart@home.test", "bart@home.test", "", ""),
}


def verdicts() -> Iterator[str]:
    """Yield a line for each case: our reply, that of Mailman's own runner, and what Mailman does with what that accepted."""
    trial = Trial()
    try:
        for number, (name, (mlist, sender, author, header, body)) in enumerate(CASES.items()):
            address = f"{mlist}@lists.example"
            subject = "" if "Subject" in header else "Subject: Aardvarks\n"
            text = f"From: {author}\nTo: {address}\nMessage-ID: <case{number}>\n{subject}{header}\n{body}Hello.\n"
            content = text.replace("\n", "\r\n").encode()
            ours = trial.send(trial.ours.port, sender, address, content)
            taken()
            theirs = trial.send(trial.theirs.port, sender, address, content)
            happened = trial.processed()
            yield f"{name:<26} {ours}  {theirs} {happened}"
    finally:
        trial.close()


def compared() -> Iterator[str]:
    """Yield a line for each kind of recipient, sender and message: what both runners answered and queued, or both if they differ.

    The alias `shared.test` has two domains.
    """
    for domain in ("b.example", "a.example"):
        getUtility(IDomainManager).add(domain, alias_domain="shared.test")
    create_list("ape@a.example")
    config.db.commit()
    trial = Trial()
    post = b"From: anne@home.test\r\nTo: ant@lists.example\r\nSubject: x\r\nMessage-ID: <a>\r\n\r\n..\r\nHello.\r\n"
    try:
        for recipient in RECIPIENTS:
            yield f"{recipient:<32} {trial.compare('anne@home.test', recipient, post)}"
        for sender in SENDERS:
            yield f"<{sender}>{' ' * (30 - len(sender))} {trial.compare(sender, 'ant@lists.example', post)}"
        for name, content in MESSAGES.items():
            yield f"{name:<32} {trial.compare('anne@home.test', 'ant@lists.example', content)}"
    finally:
        trial.close()


RECIPIENTS = [
    *(f"ant{suffix}@lists.example" for suffix in ("", "-request", "-join", "-subscribe", "-leave", "-unsubscribe", "-confirm")),
    *(f"ant{suffix}@lists.example" for suffix in ("-confirm+token", "-bounces", "-bounces+anne=home.test", "-owner", "+tag", "-admin")),
    *("ANT@Lists.Example", "ant@lists.test", "ant-join@lists.test", '"ant"@lists.example'),
    *("cat-request@lists.example", "cat-request-owner@lists.example", "elk@lists.example", "-owner@lists.example"),
    "ape@shared.test",
]
SENDERS = ["", '"a b"@home.test', "@relay.test:anne@home.test", "ANNE@Home.test"]
MESSAGES = {
    "Message-ID: <[a@b]>": b"From: anne@home.test\r\nMessage-ID: <[a@b]>\r\n\r\nHello.\r\n",
    "Message-ID: [a@b]": b"From: anne@home.test\r\nMessage-ID: [a@b]\r\n\r\nHello.\r\n",
    "Message-ID: a": b"From: anne@home.test\r\nMessage-ID: a\r\n\r\nHello.\r\n",
    "a Message-ID that is not ASCII": b"From: anne@home.test\r\nMessage-ID: <\xe9>\r\n\r\nHello.\r\n",
    "octets above 127": b"From: anne@home.test\r\nMessage-ID: <a>\r\nSubject: \xe9\xe8\r\n\r\n\xff\r\n",
    "fields of Mailman's": b"Message-ID: <a>\r\nX-MailFrom: dana@spam.test\r\nMessage-ID-Hash: A\r\n\r\nHello.\r\n",
    "a bare LF": b"From: anne@home.test\r\nMessage-ID: <a>\r\n\r\nHello.\nAgain.\r\n",
    "a defect": b"From: anne@home.test\r\nMessage-ID: <a>\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\nHello.\r\n",
}


# The session that Mailman documents: each recipient with its Message-ID and body, in that order.
SESSION = {
    "": ("<badger>", "I have something to say."),
    "-bogus": ("<falcon>", "Please help me."),
    "-request": ("<giraffe>", "Please help me."),
    "-bounces": ("<hippopotamus>", "It came back."),
    "-confirm": ("<jackal>", "confirm 123"),
    "-confirm+123": ("<kangaroo>", ""),
    "-join": ("<lemur>", ""),
    "-subscribe": ("<mongoose>", ""),
    "-leave": ("<narwhal>", ""),
    "-unsubscribe": ("<ocelot>", ""),
    "-owner": ("<panther>", ""),
}


def session() -> None:
    """Play Mailman's documented session to our runner; print each refusal, and each message's queue and metadata by Mailman's helpers."""
    getUtility(IDomainManager).add("lists.example")
    config.db.commit()
    server = Server(MailmanHandler(RunnerSettings(lookup_seconds=60))).start()
    with smtplib.LMTP(server.host, server.port) as lmtp:
        _send(lmtp, "", "<aardvark>", "Is there anybody?")
        ant = create_list("ant@lists.example")
        ant.send_welcome_message = False
        anne = getUtility(IUserManager).create_address("anne@home.test")
        anne.verified_on = now()
        ant.subscribe(anne)
        config.db.commit()
        for suffix, (identity, body) in SESSION.items():
            _send(lmtp, suffix, identity, body)
            for queue in ("in", "command", "bounces"):
                for entry in get_queue_messages(queue):
                    print(f"{entry.msg['Message-ID']} in {queue}")
                    dump_msgdata(entry.msgdata)
    server.stop()


def _send(lmtp: smtplib.LMTP, suffix: str, identity: str, body: str) -> None:
    to = f"ant{suffix}@lists.example"
    try:
        lmtp.sendmail("anne@home.test", [to], f"From: anne@home.test\nTo: {to}\nMessage-ID: {identity}\n\n{body}\n")
    except smtplib.SMTPResponseException as error:
        print(identity, error.smtp_code, error.smtp_error)
    except smtplib.SMTPRecipientsRefused as error:
        print(*(f"{identity} {code} {text.decode()}" for code, text in error.recipients.values()))
