"""Judging in processes of their own, which are killed if they do not answer in time."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

from mailman.core.logging import reopen

from lmtpref.lists.mailinglist import DirectoryError
from lmtpref.mailman.bounded import BoundedCalls
from lmtpref.mailman.database import forget_connections

T = TypeVar("T")
P = ParamSpec("P")


class Judges(Generic[P, T]):
    """A pool of `count` processes that run `call`, each answer within `seconds`.

    A hostile regular expression can take Python hours, and no other thread of its process runs meanwhile; a driver can wait
    for a database without end.  Only the end of the process ends either.

    The processes are forked at once and later fork others, so create the pool before the process has threads.
    One that is lost cannot be replaced: `on_loss` is called at each question to it.
    """

    def __init__(self, count: int, seconds: float, call: Callable[P, T], *, on_loss: Callable[[], None] = lambda: None) -> None:
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for _ in range(count):
            self._idle.put(_fork(partial(_supervise, call, seconds)))
        self._calls = BoundedCalls(count, seconds)
        self._on_loss = on_loss

    async def ask(self, *arguments: P.args, **_: P.kwargs) -> T:
        """Return the result of the call with these arguments, or raise its exception.

        Raises TimeoutError: if there is none in time.  Raises DirectoryError: if the judging process is lost.
        """
        return cast(T, await self._calls.run(self._ask, arguments))

    def _ask(self, arguments: tuple[object, ...]) -> object:
        judge = self._idle.get()
        try:
            judge.pipe.send(arguments)
            answer: object = judge.pipe.recv()
        except (EOFError, OSError):
            self._on_loss()
            raise DirectoryError("a judging process has ended") from None
        finally:
            self._idle.put(judge)
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Process(NamedTuple):
    """A child process, and our end of the pipe to it."""

    pid: int
    pipe: Connection

    def answer(self, request: bytes, seconds: float) -> bytes:
        """Return the answer to `request`.  Raises TimeoutError: if there is none in time."""
        with suppress(EOFError, OSError):
            self.pipe.send_bytes(request)
            if self.pipe.poll(seconds):
                return self.pipe.recv_bytes()
        raise TimeoutError

    def kill(self) -> None:
        """End the process."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pipe.close()


def _fork(serve: Callable[[Connection], None], *inherited: Connection) -> _Process:
    """Start a process that serves one end of a pipe until the other is closed; it does not keep the `inherited` ones open.

    It leaves signals to its parent, as a signal may be sent to all of them.
    """
    ours, theirs = Pipe()
    if pid := os.fork():
        theirs.close()
        return _Process(pid, ours)
    try:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        for pipe in (ours, *inherited):
            pipe.close()
        with suppress(EOFError, OSError):
            serve(theirs)
    finally:
        os._exit(0)


def _supervise(call: Callable[..., object], seconds: float, requests: Connection) -> None:
    """Pass requests to a worker process; kill a worker that does not answer within `seconds`, and start another one."""
    worker: _Process | None = None
    while request := requests.recv_bytes():
        worker = worker or _fork(partial(_work, call), requests)
        try:
            requests.send_bytes(worker.answer(request, seconds))
        except TimeoutError as error:
            worker.kill()
            worker = None
            requests.send(error)


def _work(call: Callable[..., object], requests: Connection) -> None:
    """Answer requests by the result of `call`, or by its exception."""
    forget_connections()
    # Mailman keeps a database session for each thread, and that of the main thread is the parent's.
    thread = Thread(target=_answer, args=(call, requests))
    thread.start()
    thread.join()


def _answer(call: Callable[..., object], requests: Connection) -> None:
    with suppress(EOFError, OSError):
        while True:
            arguments: tuple[Any, ...] = requests.recv()
            # Mailman's rules log, and the log files may have been renamed.
            reopen()
            try:
                answer: object = call(*arguments)
            except Exception as error:  # noqa: BLE001 - the caller raises it
                answer = error
            requests.send_bytes(_pickled(answer))


def _pickled(answer: object) -> bytes:
    """Return the pickled answer; an exception of a database's driver may not survive that, so it is sent as text."""
    return pickle.dumps(answer if not isinstance(answer, Exception) or isinstance(answer, DirectoryError) else RuntimeError(str(answer)))
