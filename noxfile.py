"""Everything a contributor runs: `nox` alone does what must be green, `nox -l` lists the rest."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"  # uv where it is installed; virtualenv comes with nox
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # `pythons` names those it did not find
PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = ",".join(PROJECT["project"]["optional-dependencies"])


def install(session: nox.Session, *groups: str) -> None:
    """Put the package, as it stands in this checkout with all its extras, and groups of dependencies into the session."""
    session.install("-e", f".[{EXTRAS}]", *nox.project.dependency_groups(PROJECT, *groups))


@nox.session
def doctests(session: nox.Session) -> None:
    """The spec: play every document, then ask how much of lmtpref/ they reached.  `-- PAGE` plays one."""
    install(session, "test")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    if not session.posargs:
        session.run("coverage", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """Render the documents into build/docs; a warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-E", "-W", "--keep-going", "-n", "docs", "build/docs", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style of the code."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    install(session, "types")
    session.run("mypy")


@nox.session(default=False)
def sockets(session: nox.Session) -> None:
    """The same documents once more, their transcripts over TCP and over a Unix socket."""
    install(session, "test")
    session.run("pytest", *session.posargs, env={"LMTP_WIRES": "tcp,unix"})


@nox.session(default=False)
def sql(session: nox.Session) -> None:
    """The page about databases on a PostgreSQL of its own; what is skipped where there is none is named."""
    install(session, "test", "sql")
    page = "docs/use/directory-sql.rst"
    session.run("python", "docs/use/private_postgresql.py", "pytest", page, *session.posargs, success_codes=[0, 77])


@nox.session(default=False, python=nox.project.python_versions(PROJECT))
def pythons(session: nox.Session) -> None:
    """The documents on each Python we support that is found here; those that are not are named."""
    install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """How fast: the script of docs/performance/, which says what it needs; `-- --help`."""
    session.install("-e", ".[fast]")
    session.run("python", "docs/performance/bench.py", *session.posargs)


@nox.session(default=False)
def clients(session: nox.Session) -> None:
    """Other people's clients: swaks and curl, if they are installed, nodemailer and aiosmtplib; writes docs/use/clients.json."""
    session.install("-e", ".", "aiosmtplib")
    folder = session.create_tmp()
    session.run("npm", "install", "--prefix", folder, "nodemailer", external=True)
    session.run("python", "docs/use/clients.py", env={"NODE_PATH": f"{folder}/node_modules"})


@nox.session(default=False)
def mtas(session: nox.Session) -> None:
    """The documents about Postfix, Exim and Sendmail, with the real ones, unpacked from Debian's packages; needs root."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ["docs/mta"]), env={"LMTP_MTAS": "1"})


@nox.session(default=False)
def serve(session: nox.Session) -> None:
    """The reference server, with the cast's three lists unless `-- CONFIG.toml` names others."""
    session.install("-e", ".")
    session.run("lmtpref", "serve", *session.posargs)
