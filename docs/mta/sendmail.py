"""A Sendmail of our own: unpacked, with its queue and its configuration in one folder, on a port of loopback."""

from __future__ import annotations

import subprocess
from typing import Self

import nss
from debian import unpacked
from harness import Page, Process
from ports import free_port
from talk import answers, wait_until

PACKAGES = ("sendmail-bin", "sendmail-base", "sendmail-cf", "m4", nss.PACKAGE)
HOST = "mx.home.test"  # Sendmail waits for a minute when it cannot find out about a name with a dot


class Sendmail:
    """Sendmail with the configuration that a page shows; `start` starts it, and the end of the page stops it.

    Its mail for domains other than the lists' is kept in a file, where a bounce would be seen.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._tree = unpacked(*PACKAGES)
        self.folder = page.folder / "sendmail"
        self._queue = self.folder / "mqueue"
        self._queue.mkdir(parents=True, mode=0o700)
        self.port = free_port()
        self._environment = nss.environment(self._tree, self.folder, host=HOST)
        self._daemon: Process | None = None
        page.values.update(SMTP_PORT=self.port)
        page.callback(self.stop)

    @property
    def version(self) -> str:
        """Its version, such as 8.17.1.9, once it was started."""
        return self.sendmail("-d0.1", "-bt").split()[1]

    def start(self, *names: str, **values: object) -> Self:
        """(Re)start with these blocks of the page as the .mc; its queue is empty then.  Returns when its port answers."""
        self.stop()
        for file in self._queue.iterdir():
            file.unlink()
        captured = self.folder / "captured"
        captured.write_text("")
        captured.chmod(0o666)  # by whom it is written is Sendmail's to say
        for name, text in FILES.items():
            (self.folder / name).write_text(self._relocated(text))
        text = self._relocated(BEFORE) + self._page.text(*names, **values) + self._relocated(AFTER)
        (self.folder / "sendmail.mc").write_text(text)
        (self.folder / "sendmail.cf").write_text(self.run("usr/bin/m4", str(self.folder / "sendmail.mc")))
        self._daemon = Process(*self._command("-bD", "-q1s"), environment=self._environment)
        wait_until(lambda: answers(self.port), "Sendmail's port")
        return self

    def stop(self) -> None:
        """Stop its processes, if it is running."""
        if self._daemon:
            self._daemon.stop()
            self._daemon = None

    def makemap(self, name: str) -> None:
        """Make the table of a file in the page's folder."""
        path = self._page.folder / name
        (self.folder / "makemap.cf").write_text("V10/Berkeley\nO DontBlameSendmail=TrustStickyBit\n")  # it would read /etc/mail's
        self.run("usr/libexec/sendmail/makemap", "-C", str(self.folder / "makemap.cf"), "hash", str(path), said=path.read_text())

    def sendmail(self, *arguments: str) -> str:
        """Return Sendmail's output with these arguments.  Raises RuntimeError if it fails."""
        return self.run(*self._command(*arguments))

    def run(self, program: str, *arguments: str, said: str = "") -> str:
        """Return the output of a program of the tree.  Raises RuntimeError if it fails."""
        command = [str(self._tree.root / program), *arguments]
        done = subprocess.run(command, env=self._environment, input=said, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def queue(self) -> list[str]:
        """Return the names of the messages in its queue."""
        return sorted(file.name for file in self._queue.glob("qf*"))

    def settle(self) -> None:
        """Wait until its queue is empty."""
        wait_until(lambda: not list(self._queue.iterdir()), "Sendmail's queue to be empty")

    def captured(self) -> str:
        """Return the messages for other domains, bounces among them."""
        return (self.folder / "captured").read_text(errors="replace")

    def bounces(self) -> int:
        """Return the number of its bounces since the start."""
        return self.captured().count("\nFrom: Mail Delivery Subsystem")

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (str(self._tree.root / "usr/libexec/sendmail/sendmail"), f"-C{self.folder}/sendmail.cf", *arguments)

    def _relocated(self, text: str) -> str:
        return text.replace("TREE", str(self._tree.root)).replace("SENDMAIL/", f"{self.folder}/").replace("SMTP_PORT", str(self.port))


FILES = {
    "helpfile": "",
    "statistics": "",
    "switch": "hosts files\n",  # no DNS
    "capture": "#!/bin/sh\n{ echo; cat; } >>SENDMAIL/captured\n",
}

# Settings that a page need not show: paths, no DNS, short retry times, no heed to the machine's load, and the file for other domains.
BEFORE = """\
define(`_CF_DIR_', `TREE/usr/share/sendmail/cf/')dnl
include(`TREE/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`QUEUE_DIR', `SENDMAIL/mqueue')dnl
define(`ALIAS_FILE', `')dnl
define(`STATUS_FILE', `SENDMAIL/statistics')dnl
define(`HELP_FILE', `SENDMAIL/helpfile')dnl
define(`confPID_FILE', `SENDMAIL/sendmail.pid')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`confSERVICE_SWITCH_FILE', `SENDMAIL/switch')dnl
define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit')dnl
define(`confTO_IDENT', `0')dnl
define(`confDOUBLE_BOUNCE_ADDRESS', `')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
define(`confTO_HOSTSTATUS', `1s')dnl
define(`confBAD_RCPT_THROTTLE', `0')dnl
define(`confQUEUE_LA', `10000')dnl
define(`confREFUSE_LA', `10000')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port=SMTP_PORT')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
define(`SMART_HOST', `captured:nowhere')dnl
"""
AFTER = """\
MAILER(`local')dnl
MAILER_DEFINITIONS
Mcaptured, P=/bin/sh, F=lsDFMnu, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, T=DNS/RFC822/X-Unix, A=sh SENDMAIL/capture $u
"""
