"""Several processes on the same listening sockets, which are started, reloaded and stopped together."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

from lmtpref.cli.exit_codes import FAILED_EXIT
from lmtpref.cli.reload import NotedHangup
from lmtpref.cli.terminal import report
from lmtpref.lists import QueueUnreachableError
from lmtpref.protocol.errors import UsageError

USAGE_EXIT = 2
# After a stop, workers still running after this time are killed; the server's own grace is much shorter.
STOP_SECONDS = 60.0
# The pause before an ended worker is started again; it doubles each time a worker ends before it is ready.
RESTART_SECONDS = 1.0
MAX_RESTART_SECONDS = 60.0

# `work(ready, lifeline)` serves until a signal, or until `lifeline`, a descriptor, is readable because the first process
# is gone.  It calls `ready` when it accepts connections, and returns its exit code.
Work = Callable[[Callable[[], None], int], int]


class Workers:
    """`count` processes that run `work`, and the current one, which starts them one after the other.

    `on_ready` is called when all accept connections, `on_stop` before they are stopped.  `on_reload` returns whether the
    workers should read the configuration again.  A worker that ends is started again; if one ends before all are ready,
    the others are stopped.
    """

    def __init__(
        self, count: int, work: Work, *, on_ready: Callable[[], None], on_reload: Callable[[], bool], on_stop: Callable[[], None]
    ) -> None:
        self._work = work
        self._on_ready, self._on_reload, self._on_stop = on_ready, on_reload, on_stop
        self._running: dict[int, int] = {}  # process id -> the number of the worker
        # The number of a worker that does not run -> the time at which to start it.
        self._due = dict.fromkeys(range(1, count + 1), 0.0)
        self._delay = dict.fromkeys(self._due, RESTART_SECONDS)
        self._starting: int | None = None  # the process that is not ready yet
        self._ready: int | None = None  # the pipe that it writes to when it is ready
        self._missed_reload = False  # a SIGHUP came while it was starting
        self.all_ready = self._stopping = False
        self._code = 0

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return the exit code, 0 if every worker's was."""
        self._lifeline, self._alive = os.pipe()
        with _signals_in_pipe() as (self._signals, self._handled):
            while self._running or not self._stopping:
                self._start_next()
                pipes = [pipe for pipe in (self._signals, self._ready) if pipe is not None]
                readable, _, _ = select.select(pipes, [], [], self._seconds())
                if self._ready in readable:
                    self._note_ready()
                if self._signals in readable:
                    for number in dict.fromkeys(os.read(self._signals, 4096)):
                        self._handle(number)
                if self._stopping and time.monotonic() > self._stop_at:
                    self._signal_all(signal.SIGKILL)
        os.close(self._lifeline)
        os.close(self._alive)
        return self._code

    def _seconds(self) -> float | None:
        """Return how long to wait for a signal; None to wait without a limit."""
        if self._stopping:
            return max(0.1, self._stop_at - time.monotonic())
        if self._starting or not self._due:
            return None
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _handle(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGHUP:
            if not self._stopping and self._on_reload():
                self._signal_all(signal.SIGHUP)
        else:
            self._stop()

    def _signal_all(self, number: int) -> None:
        """Send a signal to every worker; a worker that is starting gets a SIGHUP when it is ready."""
        for pid in self._running:
            if number == signal.SIGHUP and pid == self._starting:
                self._missed_reload = True
            else:
                os.kill(pid, number)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._stop_at = time.monotonic() + STOP_SECONDS
            self._on_stop()
            self._signal_all(signal.SIGTERM)

    # Starting -------------------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        """Start one worker that is due, unless another is starting."""
        number = min(self._due, key=self._due.__getitem__, default=None)
        if number is None or self._starting or self._stopping or self._due[number] > time.monotonic():
            return
        del self._due[number]
        ready, tell_ready = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal waits until the worker has its own handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, self._handled)
        pid = os.fork()
        if pid == 0:
            self._become_worker(tell_ready, ready)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handled)
        os.close(tell_ready)
        self._running[pid] = number
        self._starting, self._ready = pid, ready

    def _become_worker(self, tell_ready: int, ready: int) -> NoReturn:
        """Run a worker in this process, and exit."""
        code = FAILED_EXIT
        try:
            signal.set_wakeup_fd(-1)
            for number in self._handled:
                # A terminal or `pkill` sends these two to all processes; the first one acts on them for a worker that is starting.
                ignored = number in {signal.SIGINT, signal.SIGHUP}
                signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
            for descriptor in (ready, self._alive, self._signals):
                os.close(descriptor)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handled)
            code = self._work(lambda: _report_ready(tell_ready), self._lifeline)
        except UsageError as error:
            report(error)
            code = USAGE_EXIT
        except QueueUnreachableError as error:
            report(error)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else FAILED_EXIT
        except BaseException:  # noqa: BLE001 - no code of the first process may run here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _note_ready(self) -> None:
        """Note that a worker is ready or, if its pipe is empty, about to end."""
        assert self._ready is not None
        is_ready = bool(os.read(self._ready, 1))
        os.close(self._ready)
        self._ready = None
        if not is_ready:
            return
        pid, self._starting = self._starting, None
        assert pid is not None
        self._delay[self._running[pid]] = RESTART_SECONDS
        if self._missed_reload:
            self._missed_reload = False
            os.kill(pid, signal.SIGHUP)
        if not self.all_ready and not self._due:
            self.all_ready = True
            self._on_ready()

    # Ending ---------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Note each worker that has ended."""
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid == self._starting:
                self._starting = None
                if self._ready is not None:
                    os.close(self._ready)
                    self._ready = None
            self._note_end(pid, self._running.pop(pid), os.waitstatus_to_exitcode(status))

    def _note_end(self, pid: int, number: int, code: int) -> None:
        if self._stopping:
            # SIGTERM ends a worker that does not serve yet.
            self._code = self._code or (0 if code == -signal.SIGTERM else FAILED_EXIT if code < 0 else code)
        elif not self.all_ready:
            self._code = code if code > 0 else FAILED_EXIT
            self._stop()
        else:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            report(f"worker {number}, process {pid}, {how}; another is started")
            self._due[number] = time.monotonic() + self._delay[number]
            self._delay[number] = min(2 * self._delay[number], MAX_RESTART_SECONDS)


def _report_ready(pipe: int) -> None:
    os.write(pipe, b".")
    os.close(pipe)


@contextlib.contextmanager
def _signals_in_pipe() -> Iterator[tuple[int, set[signal.Signals]]]:
    """Redirect the group's signals to a pipe during the block; yield its reading end, and the signals."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    handled = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
    before = {number: signal.signal(number, lambda *_: None) for number in handled}
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    noted = before[signal.SIGHUP]
    if isinstance(noted, NotedHangup) and noted.came:
        os.write(write, bytes([signal.SIGHUP]))
    try:
        yield read, handled
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)
