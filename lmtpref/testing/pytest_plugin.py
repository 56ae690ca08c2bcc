"""Fixtures for tests of programs that speak LMTP; nothing is imported or started before one of them is used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lmtpref.net.client.sync import Client
    from lmtpref.testing.server import LmtpServer, ServerAddress, ServerPool

Config = dict[str, Any]

_SERVERS = pytest.StashKey[list["LmtpServer"]]()
_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def lmtp_server_config() -> Config:
    """What `lmtp_server` is made with: override it, and return the arguments of `lmtpref.Server` that you want."""
    return {}


@pytest.fixture
def lmtp_server(request: pytest.FixtureRequest, _lmtp_servers: ServerPool, lmtp_server_config: Config) -> Iterator[LmtpServer]:
    """An LMTP server that has just begun: no messages, no faults, nothing said.

    At the end of the test a fault that did not happen, or a hook of its handler that raised, is an error.
    """
    server = _lmtp_servers.take(lmtp_server_config)
    _register(request.node, server)
    yield server
    server.wait_idle()
    _check(request.node, server)


@pytest.fixture
def lmtp_server_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., LmtpServer]]:
    """Makes servers of the test's own, with the arguments of `lmtpref.Server`; they stop with it, and are checked as `lmtp_server` is."""
    from lmtpref.testing.server import LmtpServer

    with contextlib.ExitStack() as ends:

        def make(*arguments: Any, **options: Any) -> LmtpServer:  # noqa: ANN401 - as Server has them
            server = LmtpServer(*arguments, **options)
            server.start()
            ends.callback(_check, request.node, server)
            ends.callback(server.stop)
            ends.callback(server.wait_idle)
            return _register(request.node, server)

        yield make


@pytest.fixture
def lmtp_client(lmtp_server: LmtpServer) -> Iterator[Client]:
    """A client that is connected to `lmtp_server`."""
    with lmtp_server.client() as client:
        yield client


@pytest.fixture
def lmtp_script(request: pytest.FixtureRequest) -> Callable[..., contextlib.AbstractContextManager[ServerAddress]]:
    """What plays the server's side of a transcript to the program under test, in a `with` block that gives the address.

    It is `lmtpref.testing.server.play_script`, and finds a FILE that stands beside the test.
    """
    from lmtpref.testing.server import play_script

    def play(transcript: str, **options: Any) -> contextlib.AbstractContextManager[ServerAddress]:  # noqa: ANN401 - as play_script has them
        return play_script(transcript, **{"base": request.path.parent, **options})

    return play


@pytest.fixture(scope="session")
def _lmtp_servers() -> Iterator[ServerPool]:
    from lmtpref.testing.server import ServerPool

    with ServerPool() as servers:
        yield servers


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail the test if a hook of a server's handler raised; this outranks the failure that it led to."""
    __tracebackhide__ = True
    try:
        result = yield
        for server in item.stash.get(_SERVERS, ()):
            server.wait_idle()
            server.check_handler()
        return result  # noqa: TRY300 - an `else` would leave out what was just checked
    except (Exception, pytest.fail.Exception) as error:
        item.stash[_FAILED] = True
        try:
            for server in item.stash.get(_SERVERS, ()):
                server.check_handler()
        except AssertionError as problem:
            raise problem.with_traceback(error.__traceback__)  # noqa: B904 - its cause is what the hook raised
        raise


def _register(item: pytest.Item, server: LmtpServer) -> LmtpServer:
    item.stash.setdefault(_SERVERS, []).append(server)
    return server


def _check(item: pytest.Item, server: LmtpServer) -> None:
    """Fail for what went wrong unseen; a test that has failed says enough."""
    if item.stash.get(_FAILED, False):
        return
    server.check_handler()
    if server.missing:
        pytest.fail("\n".join(server.missing), pytrace=False)
