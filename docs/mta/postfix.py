"""A Postfix of our own: unpacked, with its queue and its configuration in one folder, on a port of loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Self

from debian import unpacked
from harness import Page
from ports import free_port
from talk import answers, wait_until

PACKAGES = ("postfix", "postfix-pcre", "postfix-lmdb")
# Users and groups of every Debian system, so that none has to be made: Postfix wants two groups for itself
MAIL_OWNER = "mail"
SETGID_GROUP = "uucp"
_LONG_AGO_SECONDS = 60  # every program of Postfix sleeps while main.cf is younger than two seconds


class Postfix:
    """Postfix with the files that a page shows; started by `start`, stopped at the end of the page at the latest.

    `RELOCATED` is what the page need not show: where the unpacked tree has its parts.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._tree = unpacked(*PACKAGES)
        self._folder = page.folder / "postfix"
        self.queues = self._folder / "queue"
        self.port = free_port()
        self.log = self._folder / "maillog"
        self._environment = {**self._tree.environment, "MAIL_CONFIG": str(self._folder)}
        self._running = False
        self._prepare()
        page.values.update(SMTP_PORT=self.port, POSTFIX=self._folder)
        page.callback(self.stop)

    @property
    def version(self) -> str:
        """Postfix's version, such as 3.7.11."""
        return self.run("postconf", "-dh", "mail_version").strip()

    def start(self, main: str, *more: str, master: str = "", into: Sequence[str] = (), **values: object) -> Self:
        """(Re)start with these blocks of the page as main.cf, and `master` added to master.cf; its queue is empty then.

        `into` is what the command begins with, such as setpriv.  Returns when its port answers.
        """
        self.stop()
        shutil.rmtree(self.queues, ignore_errors=True)
        self.queues.mkdir()
        self.log.unlink(missing_ok=True)
        page = self._page
        own = page.text(main, *more, **values)
        (self._folder / "main.cf").write_text(self._relocated(own) + own)
        extra = page.text(master, **values) if master else ""
        (self._folder / "master.cf").write_text(MASTER.replace("SMTP_PORT", str(self.port)) + extra)
        self._age()
        self.run("postfix", "start", into=into)
        self._running = True
        wait_until(lambda: answers(self.port), "Postfix's port")
        return self

    def stop(self) -> None:
        """Stop its processes, if it is running, and wait until they have ended."""
        if self._running:
            self.run("postfix", "stop")
            self._running = False

    def postmap(self, *tables: str) -> None:
        """Build the tables, such as hash:/path, that need building."""
        self.run("postmap", *tables)

    def run(self, program: str, *arguments: str, into: Sequence[str] = ()) -> str:
        """Return the output of a program of Postfix.  Raises CalledProcessError if it fails."""
        command = [*into, str(self._tree.root / "usr/sbin" / program), *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, f"{done.stderr}\n{self.logged()}")
        return done.stdout

    def queue(self) -> list[str]:
        """Return the senders and recipients of the messages in its queue."""
        return re.findall(r'"sender": "([^"]*)"', self.run("postqueue", "-j"))

    def logged(self, pattern: str = "") -> str:
        """Return the lines of its log that contain `pattern`."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(line for line in lines if re.search(pattern, line))

    def wait(self) -> Self:
        """Wait until its queue is empty."""
        wait_until(lambda: not self.queue(), f"Postfix's queue to be empty:\n{self.logged('status=')}")
        return self

    def bounces(self) -> int:
        """Return the number of its bounces since the start, to senders or, if undeliverable, to itself."""
        return len(self.logged("sender non-delivery notification").splitlines())

    def _prepare(self) -> None:
        for name in ("data", "meta/postfix-files.d", "meta/dynamicmaps.cf.d"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        shutil.chown(self._folder / "data", MAIL_OWNER)
        shutil.copy(self._tree.root / "etc/postfix/postfix-files", self._folder / "meta")
        shutil.copy(self._tree.root / "usr/share/postfix/dynamicmaps.cf", self._folder / "meta")

    def _relocated(self, own: str) -> str:
        """Return what the page need not show, without the parameters that `own` sets.

        Every process warns of a parameter that is set twice.  With enough warnings postlogd waits for itself, and all others for it.
        """
        own_names = set(re.findall(r"^(\w+) *=", own, re.MULTILINE))
        kept = [line for line in RELOCATED.splitlines(keepends=True) if line.partition(" ")[0] not in own_names]
        return "".join(kept).replace("TREE", str(self._tree.root)).replace("POSTFIX", str(self._folder))

    def _age(self) -> None:
        for name in ("main.cf", "master.cf"):
            path = self._folder / name
            then = path.stat().st_mtime - _LONG_AGO_SECONDS
            os.utime(path, (then, then))


RELOCATED = f"""\
compatibility_level = 3.6
command_directory = TREE/usr/sbin
daemon_directory = TREE/usr/lib/postfix/sbin
shlib_directory = TREE/usr/lib/postfix
meta_directory = POSTFIX/meta
queue_directory = POSTFIX/queue
data_directory = POSTFIX/data
sendmail_path = TREE/usr/sbin/sendmail
mailq_path = TREE/usr/sbin/sendmail
newaliases_path = TREE/usr/sbin/sendmail
html_directory = no
manpage_directory = POSTFIX/man
readme_directory = no
mail_owner = {MAIL_OWNER}
setgid_group = {SETGID_GROUP}
import_environment = LD_LIBRARY_PATH MAIL_CONFIG TZ LANG=C
export_environment = TZ LANG LD_LIBRARY_PATH
maillog_file = POSTFIX/maillog
maillog_file_prefixes = POSTFIX
# Loopback, and no DNS
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
default_transport = error:5.4.4 no mail leaves this test
smtpd_peername_lookup = no
notify_classes =
alias_maps =
alias_database =
# Retries that a test can wait for
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
"""

# Debian's master.cf without its chroots and without what no page needs
MASTER = """\
127.0.0.1:SMTP_PORT inet n - n - - smtpd
pickup    unix  n  -  n  60    1 pickup
cleanup   unix  n  -  n  -     0 cleanup
qmgr      unix  n  -  n  300   1 qmgr
rewrite   unix  -  -  n  -     - trivial-rewrite
bounce    unix  -  -  n  -     0 bounce
defer     unix  -  -  n  -     0 bounce
trace     unix  -  -  n  -     0 bounce
verify    unix  -  -  n  -     1 verify
flush     unix  n  -  n  1000? 0 flush
proxymap  unix  -  -  n  -     - proxymap
proxywrite unix -  -  n  -     1 proxymap
showq     unix  n  -  n  -     - showq
relay     unix  -  -  n  -     - smtp
error     unix  -  -  n  -     - error
retry     unix  -  -  n  -     - error
discard   unix  -  -  n  -     - discard
local     unix  -  n  n  -     - local
virtual   unix  -  n  n  -     - virtual
lmtp      unix  -  -  n  -     - lmtp
anvil     unix  -  -  n  -     1 anvil
scache    unix  -  -  n  -     1 scache
postlog   unix-dgram n - n -   1 postlogd
"""
