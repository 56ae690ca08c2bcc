"""`lmtpref serve --given NAME`: the reference server in a condition that some cases of `lmtpref check` need."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from lmtpref.cli.serve_faults import interpose_for, new_recorder
from lmtpref.config.configuration import Configuration
from lmtpref.config.loader import cast
from lmtpref.lists import MailingList, MemoryDirectory
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import AcceptAll
from lmtpref.protocol.replies import Reply
from lmtpref.server import Server

if TYPE_CHECKING:
    from lmtpref.check.conditions import Condition
    from lmtpref.testing.recorder import Recorder

NONE = "none"


def add_to(serve: argparse.ArgumentParser) -> None:
    """Add the option to `serve`."""
    serve.add_argument("--given", metavar="NAMES", help="put the server into conditions of `lmtpref check`, separated by commas")


def asked_for(options: argparse.Namespace) -> list[Condition]:
    """Return the conditions in the options.  Raises UsageError for an unknown one, or if there is a CONFIG too."""
    if options.given and options.config:
        raise UsageError("--given changes the documents' lists, so it cannot be combined with CONFIG")
    return _conditions([name for name in (options.given or NONE).split(",") if name != NONE])


def _conditions(names: Sequence[str]) -> list[Condition]:
    if not names:
        return []
    from lmtpref.check.conditions import condition  # noqa: PLC0415 - the suite takes as long to import as a server does

    return [condition(name) for name in names]


def check_for_workers(given: Sequence[Condition]) -> None:
    """Raise UsageError if a condition has faults, which are counted in one process."""
    for condition in given:
        if condition.fault:
            raise UsageError(f"--given {condition.name} has faults, which cannot be combined with several workers")


def under_condition(configuration: Configuration, given: Condition) -> Configuration:
    """Return `configuration` with the settings, lists and persons of the condition."""
    names = {field.name for field in fields(configuration.settings)}
    settings = {key: value for key, value in given.server.items() if key in names}
    others = {key: value for key, value in given.server.items() if key not in names}
    directory = configuration.directory
    if isinstance(directory, MemoryDirectory):
        for address, changes in given.list.items():
            known = directory.find(address)
            directory.add(replace(directory.remove(address), **changes) if known else MailingList(address, **changes))
        for addresses in given.person:
            directory.persons.add(addresses)
    return replace(configuration, **others, settings=replace(configuration.settings, **settings))


def recorder_for(given: Condition, recorder: Recorder | None) -> Recorder | None:
    """Return a recorder with the faults of the condition in addition to those of `recorder`."""
    if not given.fault:
        return recorder
    recorder = recorder or new_recorder()
    for table in given.fault:
        reply = Reply.parse(table["reply"].split("\n"))
        fault = recorder.faults.on(table["on"], to=table.get("to"))
        fault.reply(reply.code, reply.enhanced, "\n".join(reply.lines), times=table.get("times"))
    return recorder


def reference(names: Sequence[str], *, listen: str = "127.0.0.1:0") -> Server:
    """Return the reference server in these conditions, as run by `lmtpref serve --given`."""
    configuration, recorder = cast(), None
    given = _conditions(names)
    for one in given:
        configuration, recorder = under_condition(configuration, one), recorder_for(one, recorder)
    server = Server.from_config(configuration, listen=[listen], interpose=interpose_for(recorder))
    if any(one.accept_all for one in given):
        server.handler = AcceptAll()
    return server
