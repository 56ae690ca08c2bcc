"""Fixtures for tests of programs that speak LMTP; the first use of one imports and starts what it needs."""

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
_PASSED = pytest.StashKey[bool]()


@pytest.fixture
def lmtp_server_config() -> Config:
    """The arguments of `lmtpref.Server` for `lmtp_server`; override this fixture to change them."""
    return {}


@pytest.fixture
def lmtp_server(request: pytest.FixtureRequest, _lmtp_servers: ServerPool, lmtp_server_config: Config) -> Iterator[LmtpServer]:
    """A fresh LMTP server: no messages, no faults, an empty transcript.

    At the end of the test, a fault that did not happen, or an exception in a hook of its handler, is an error.
    """
    server = _lmtp_servers.take(lmtp_server_config)
    _register(request.node, server)
    yield server
    server.wait_idle()
    _check(request.node, server)


@pytest.fixture
def lmtp_server_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., LmtpServer]]:
    """A factory of further servers, with the arguments of `lmtpref.Server`; they stop with the test, and are checked like `lmtp_server`."""
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
    """A client connected to `lmtp_server`."""
    with lmtp_server.client() as client:
        yield client


@pytest.fixture
def lmtp_script(request: pytest.FixtureRequest) -> Callable[..., contextlib.AbstractContextManager[ServerAddress]]:
    """A function that plays the server's side of a transcript to the tested program, in a `with` block that gives the address.

    It is `lmtpref.testing.server.play_script`, and looks for a FILE in the folder of the test.
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
    """Fail the test if a hook of a server's handler raised; its exception takes precedence over the failure that it caused."""
    __tracebackhide__ = True
    item.stash[_PASSED] = False
    try:
        result = yield
        for server in item.stash.get(_SERVERS, ()):
            server.wait_idle()
            server.check_handler()
        item.stash[_PASSED] = True
        return result  # noqa: TRY300 - an `else` would not cover the check above
    except (Exception, pytest.fail.Exception) as error:
        try:
            for server in item.stash.get(_SERVERS, ()):
                server.check_handler()
        except AssertionError as problem:
            raise problem.with_traceback(error.__traceback__)  # noqa: B904 - its cause is the hook's exception
        raise


def _register(item: pytest.Item, server: LmtpServer) -> LmtpServer:
    item.stash.setdefault(_SERVERS, []).append(server)
    return server


def _check(item: pytest.Item, server: LmtpServer) -> None:
    """Fail for an error that the test did not see; a test that failed, or was skipped, needs no failure more."""
    if not item.stash.get(_PASSED, False):
        return
    server.check_handler()
    if server.missing:
        pytest.fail("\n".join(server.missing), pytrace=False)
