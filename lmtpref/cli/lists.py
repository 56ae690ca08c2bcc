"""`lmtpref lists import CONFIG URL`: write the lists of a configuration into a database."""

from __future__ import annotations

import argparse

from lmtpref.cli.arguments import path_name
from lmtpref.cli.exit_codes import FAILED_EXIT
from lmtpref.cli.terminal import report
from lmtpref.config.loader import load
from lmtpref.lists import MemoryDirectory
from lmtpref.lists.mailinglist import DirectoryError
from lmtpref.protocol.errors import ConfigurationError, UsageError


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `lists import`."""
    lists = commands.add_parser("lists", help="lists in a database").add_subparsers(required=True, metavar="ACTION")
    import_ = lists.add_parser("import", help="replace the lists in a database with those of CONFIG")
    import_.add_argument("config", type=path_name, metavar="CONFIG.toml", help="the configuration with the lists")
    import_.add_argument(
        "url", metavar="URL", help="the URL of the database, as SQLAlchemy writes it: sqlite:///lists.db, postgresql+psycopg://..."
    )
    import_.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    try:
        from lmtpref.lists.directory.sql_import import import_lists
    except ModuleNotFoundError:
        raise UsageError("lists in a database need SQLAlchemy; pip install 'lmtpref[sql]' installs it") from None
    directory = load(options.config).directory
    if not isinstance(directory, MemoryDirectory):
        raise ConfigurationError("the lists are in a database already", file=options.config, key="directory")
    try:
        count = import_lists(directory, options.url, persons=directory.persons)
    except DirectoryError as error:
        report(f"nothing was imported: {error}")
        return FAILED_EXIT
    members = sum(len(mailing_list.members) for mailing_list in directory)
    print(f"imported: lists {count}, members {members}" + (f", persons {len(directory.persons)}" if directory.persons else ""))
    return 0
