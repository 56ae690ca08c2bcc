"""Test the installed wheel in an environment that has nothing else; `nox -s build` runs this script with the checkout's path.

The package, its types and the documents inside; the server; a transcript from those documents; the fixture.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import lmtpref

TRANSCRIPTS = ("rfc2033-4.2-no-recipient", "rfc2033-4.2-one-of-three-rejected")
TEST = """\
def test_it(lmtp_server, lmtp_client):
    assert lmtp_client.sendmail("anne@home.test", ["ant@lists.example"], "Subject: hello\\n\\nHello.\\n") == {}
    [message] = lmtp_server.messages
    assert message.recipients == ["ant@lists.example"]
"""
COMMAND = str(Path(sys.executable).with_name("lmtpref"))


def pages(folder: Path) -> list[str]:
    """Return the documents in a folder, and the tables that they read."""
    return sorted(str(page.relative_to(folder)) for kind in ("*.rst", "*.toml") for page in folder.rglob(kind))


def check_files(checkout: Path) -> str:
    """Check the installed files and their places."""
    package = Path(lmtpref.__file__).parent
    assert not package.is_relative_to(checkout / "lmtpref"), package
    assert (package / "py.typed").is_file()
    assert pages(package / "_docs") == pages(checkout / "docs") != []
    return f"{len(pages(package / '_docs'))} documents inside"


def check_server(folder: Path) -> str:
    """Serve the cast's lists, and play transcripts of the documents inside to that server."""
    cast = (Path(lmtpref.__file__).parent / "config" / "cast.toml").read_text()
    config = folder / "cast.toml"
    config.write_text(cast.replace("127.0.0.1:8024", "127.0.0.1:0"))
    with subprocess.Popen([COMMAND, "serve", str(config)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            address = next(line for line in server.stdout if line.startswith("listening on ")).split()[-1]
            said = subprocess.run([COMMAND, "check", address, *TRANSCRIPTS], capture_output=True, text=True, check=True)
        finally:
            server.terminate()
            rest, _ = server.communicate()
    assert (server.returncode, rest[:10]) == (0, "queued: in"), (server.returncode, rest)
    return said.stdout.splitlines()[-1].partition(": ")[2]


def check_fixture(folder: Path) -> str:
    """Run a test with the fixtures."""
    (folder / "test_it.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    return said.stdout.splitlines()[-1].partition(" in ")[0]


def main() -> None:
    """Check everything, and print the results."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"lmtpref {lmtpref.__version__}: {check_files(Path(sys.argv[1]))}")
        print(f"server: {check_server(Path(folder))}")
        print(f"fixture: {check_fixture(Path(folder))}")


if __name__ == "__main__":
    main()
