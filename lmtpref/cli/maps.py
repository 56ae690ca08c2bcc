"""`lmtpref maps`: write the files that an MTA needs to route mail to the configured lists."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lmtpref.cli.arguments import path_name
from lmtpref.cli.exit_codes import FAILED_EXIT
from lmtpref.cli.maps_addresses import places_of
from lmtpref.cli.maps_files import Files, exim, postfix, sendmail
from lmtpref.cli.terminal import report
from lmtpref.config.configuration import Configuration
from lmtpref.config.keys import MAP_CLASS, MAP_TYPE, MTA
from lmtpref.config.loader import load
from lmtpref.lists import MemoryDirectory
from lmtpref.protocol.endpoints import Address, TcpAddress, UnixAddress, parse_address
from lmtpref.protocol.errors import UsageError
from lmtpref.server import listeners_of

# An MTA on this machine reaches us on loopback, by number, because `localhost` needs a look-up.
_ANY = {"", "0.0.0.0", "::", "localhost"}  # noqa: S104

# How long the server waits for the command in `then`; a stop waits for it too.
THEN_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """The content of `[maps]`, or of the command line: the MTA, the folder, and the next hop.

    `next_hop` is HOST:PORT or unix:PATH; the default is the first address that the server listens on.
    """

    mta: str = "postfix"
    out: Path | None = None
    next_hop: str = ""
    service: str = "lmtp"
    type: str = "regexp"
    address_class: str = "relay"
    then: str = ""

    def files(self, configuration: Configuration, where: Path) -> Files:
        """Return the text of each file by its name, for a complete sequence of lists; `where` is the folder in which the MTA finds them."""
        if not isinstance(configuration.directory, MemoryDirectory):
            raise UsageError("the lists are in a database; maps are made from [[list]] tables")
        places = places_of(configuration.directory)
        hop = _reachable(parse_address(self.next_hop or _first_address(configuration)))
        match self.mta:
            case "postfix":
                return postfix(places, hop, where, type_=self.type, service=self.service, class_=self.address_class)
            case "exim":
                return exim(places, hop, where)
            case _:
                return sendmail(places, hop, where)


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `maps`."""
    maps = commands.add_parser("maps", help="print or write an MTA's tables for the lists, and the lines of its configuration")
    maps.add_argument("mta", choices=MTA.choices, help="which MTA")
    maps.add_argument("config", type=path_name, metavar="CONFIG.toml", help="the configuration with the lists")
    maps.add_argument("--out", type=path_name, metavar="DIR", help="write the files that have changed to this folder (default: print all)")
    maps.add_argument("--check", action="store_true", help="write nothing; report whether the files in DIR are current")
    maps.add_argument(
        "--next-hop", metavar="HOST:PORT|unix:PATH", help="the server's address for the MTA (default: the first one that it listens on)"
    )
    maps.add_argument("--service", help="Postfix: the service of master.cf that delivers (default: lmtp)")
    maps.add_argument("--type", choices=MAP_TYPE.choices, help="Postfix: the kind of table (default: regexp)")
    maps.add_argument("--class", dest="address_class", choices=MAP_CLASS.choices, help="Postfix: the class of the domains (default: relay)")
    maps.add_argument("--then", metavar="COMMAND", help="a command that runs when a file has changed")
    maps.set_defaults(run=_maps)


def _maps(options: argparse.Namespace) -> int:
    configuration = load(options.config)
    given = {name: getattr(options, name) for name in ("mta", "next_hop", "service", "type", "address_class", "then")}
    maps = replace(maps_of(configuration) or Maps(), **{name: value for name, value in given.items() if value is not None})
    out = Path(options.out) if options.out else maps.out
    if out is None:
        if options.check:
            raise UsageError("--check needs --out DIR, or [maps] in the configuration")
        for name, text in maps.files(configuration, Path("/etc/lmtpref")).items():
            print(f"==> {name} <==", text, sep="\n")
        return 0
    files = maps.files(configuration, out.absolute())
    return _check(files, out) if options.check else _write(files, out, partial(run_command, maps.then))


def maps_of(configuration: Configuration) -> Maps | None:
    """Return the settings in the configuration's `[maps]`; None without that table."""
    values: Mapping[str, Any] = configuration.maps
    return Maps(**{"address_class" if key == "class" else key: value for key, value in values.items()}) if values else None


def regenerate(configuration: Configuration) -> None:
    """Write the files that `[maps]` requests, and report them on standard error.

    Raises UsageError if they cannot be written.
    """
    maps = maps_of(configuration)
    if maps and maps.out:
        _write(maps.files(configuration, maps.out.absolute()), maps.out, partial(run_command, maps.then, seconds=THEN_SECONDS), report)


def _check(files: Files, out: Path) -> int:
    stale = _stale(files, out)
    for name in files:
        print(f"{out / name}: {'not current' if name in stale else 'current'}")
    return FAILED_EXIT if stale else 0


def _write(files: Files, out: Path, then: Callable[[], int], say: Callable[[str], None] = print) -> int:
    """Write the files that have changed, each atomically, so that a reader sees the old file or the new one; then call `then`."""
    stale = _stale(files, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in stale:
            replace_file(out / name, files[name])
            say(f"{out / name}: written")
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from None
    return then() if stale else 0


def _stale(files: Files, out: Path) -> list[str]:
    return [name for name, text in files.items() if _content(out / name) != text]


def _content(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):  # the attempt to write reports the problem
        return None


def replace_file(path: Path, text: str) -> None:
    """Replace the contents of `path` by `text`, which is on disk before it becomes visible."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # the MTA runs as another user
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise


def run_command(command: str, *, seconds: float | None = None) -> int:
    """Run a shell command, unless it is empty, and return its exit code as 0 or 1; kill it with its children after `seconds`."""
    if not command:
        return 0
    alone = seconds is not None
    with subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=2, start_new_session=alone) as process:  # noqa: S602 - it is the postmaster's own
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            report(f"{command!r} was killed, because it took longer than {seconds:g} seconds")
            return FAILED_EXIT
    if code:
        report(f"{command!r} failed, with exit code {code}")
    return FAILED_EXIT if code else 0


def _first_address(configuration: Configuration) -> str:
    """Return the first address to which an MTA can connect; it sends no PROXY header.  Raises UsageError without one."""
    for listener in listeners_of(configuration):
        if not listener.proxy_from:
            return listener.address
    raise UsageError("the server has no address for an MTA; set --next-hop")


def _reachable(address: Address) -> Address:
    """Return the address for an MTA on this machine.  Raises UsageError for port 0, which changes at each start."""
    if isinstance(address, UnixAddress):
        return UnixAddress(str(Path(address.path).absolute()))
    if not address.port:
        raise UsageError(f"an MTA needs a fixed port: {address}; set --next-hop")
    return TcpAddress("127.0.0.1" if address.host in _ANY else address.host, address.port)
