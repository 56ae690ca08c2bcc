"""An Exim of our own: unpacked, with its spool and its configuration in one folder, on a port of loopback."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Self

import nss
from debian import unpacked
from harness import Page, Process
from ports import free_port
from talk import wait_until

RESOLVER = "libresolv-wrapper"  # which answers from a file instead of DNS (cwrap.org)
PACKAGES = ("exim4-daemon-heavy", nss.PACKAGE, RESOLVER)
USER = "Debian-exim"  # compiled into Debian's Exim, which does nothing if there is no such user
IDENTITY = (64_999, 8)  # an unused uid; the group is mail, as on every Debian system
# As that user from the start; but it may reach what is in the home of who runs the tests
UNPRIVILEGED = (
    "setpriv",
    f"--reuid={IDENTITY[0]}",
    f"--regid={IDENTITY[1]}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
)


class Exim:
    """Exim with the configuration that a page shows; `start` starts it, and the end of the page stops it.

    Its mail for domains other than the lists' is kept in a file, where a bounce would be seen.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._tree = unpacked(*PACKAGES)
        self.folder = page.folder / "exim"
        self.folder.mkdir()
        self.port = free_port()
        self._environment = nss.environment(self._tree, self.folder, user=USER, identity=IDENTITY)
        self._daemon: Process | None = None
        page.values.update(SMTP_PORT=self.port)
        page.callback(self.stop)

    def resolve(self, records: Mapping[str, bytes]) -> None:
        """From the next start on, have these TXT records instead of DNS; a value has no blanks and at most 254 octets."""
        file = self.folder / "records"
        # Version 1.1.8 of the library copies a value as it is, so the length of RFC 1035's character-string precedes it.
        file.write_bytes(b"".join(b"TXT %b %b%b\n" % (name.encode(), bytes([len(value)]), value) for name, value in records.items()))
        [wrapper] = self._tree.root.rglob("libresolv_wrapper.so")
        preloaded = f"{self._environment['LD_PRELOAD']}:{wrapper}"
        self._environment |= {"LD_PRELOAD": preloaded, "RESOLV_WRAPPER_HOSTS": str(file)}

    @property
    def version(self) -> str:
        """Exim's version, such as 4.96."""
        (self.folder / "exim.conf").touch()
        return self.run("-bV").split()[2]

    def start(
        self, *, acl: str, routers: str, transports: str, main: str = "exim-main", into: Sequence[str] = (), **values: object
    ) -> Self:
        """(Re)start with blocks of the page, each part naming one or several; its queue is empty then.

        `into` is what the command begins with, such as nsenter.  Returns when it listens.
        """
        self.stop()
        for name in ("spool", "log"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
        (self.folder / "captured").unlink(missing_ok=True)
        parts = {"MAIN": main, "ACL": acl, "ROUTERS": routers, "TRANSPORTS": transports}
        shown = {part: self._page.text(*names.split(), **values) for part, names in parts.items()}
        text = CONFIGURATION.replace("TREE", str(self._tree.root)).replace("EXIM", str(self.folder)).replace("SMTP_PORT", str(self.port))
        for part, block in shown.items():
            text = text.replace(f"<{part}>\n", block)
        (self.folder / "exim.conf").write_text(text)
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, *IDENTITY)
        self.run("-bV")  # which reads the configuration
        self._daemon = Process(*into, *self._command("-bdf", "-q1s"), environment=self._environment)
        wait_until(lambda: self.logged("daemon started"), "Exim to listen")
        return self

    def stop(self) -> None:
        """Stop its processes, if it is running."""
        if self._daemon:
            self._daemon.stop()
            self._daemon = None

    def run(self, *arguments: str) -> str:
        """What Exim prints when it is called with these.  Raises RuntimeError if it fails."""
        command = self._command(*arguments)
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def queue(self) -> list[str]:
        """Return the recipients of the messages in its queue."""
        return re.findall(r"^\s{10}(\S+)$", self.run("-bp"), re.MULTILINE)

    def settle(self) -> None:
        """Wait until its queue is empty."""
        wait_until(lambda: not list((self.folder / "spool/input").glob("*-H")), "Exim's queue to be empty")

    def captured(self) -> str:
        """Return the messages for other domains, bounces among them."""
        file = self.folder / "captured"
        return file.read_text(errors="replace") if file.exists() else ""

    def bounces(self) -> int:
        """Return the number of its bounces since the start."""
        return len(self.logged(" <= <> R="))

    def logged(self, pattern: str = "") -> list[str]:
        """The lines of its log in which `pattern` is found, without their dates."""
        logs = [log for name in ("mainlog", "paniclog") if (log := self.folder / "log" / name).exists()]
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return [line[len("2026-11-20 12:00:00 ") :] for line in lines if re.search(pattern, line)]

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (*UNPRIVILEGED, str(self._tree.root / "usr/sbin/exim4"), "-C", str(self.folder / "exim.conf"), *arguments)


# Settings that a page need not show: paths, no DNS, short retry times, and the file for other domains.
CONFIGURATION = """\
exim_path = TREE/usr/sbin/exim4
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP : RESOLV_WRAPPER_HOSTS
spool_directory = EXIM/spool
log_file_path = EXIM/log/%slog
pid_file_path = EXIM/exim.pid
log_selector = +smtp_confirmation
daemon_smtp_ports = SMTP_PORT
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
deliver_drop_privilege
ignore_bounce_errors_after = 0s
<MAIN>

begin acl
<ACL>

begin routers
<ROUTERS>
others:
  driver = accept
  transport = captured

begin transports
<TRANSPORTS>
captured:
  driver = appendfile
  file = EXIM/captured
  user = Debian-exim

begin retry
*  *  F,1h,1s
"""
