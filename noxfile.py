"""Everything a contributor runs: `nox` alone does what must be green, `nox -l` lists the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"  # uv where it is installed; virtualenv comes with nox
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # `pythons` names those it did not find
PROJECT = nox.project.load_toml("pyproject.toml")
# All but `mailman`: GNU Mailman brings two dozen packages, and `nox -s mailman` alone runs it.
EXTRAS = ",".join(extra for extra in PROJECT["project"]["optional-dependencies"] if extra != "mailman")
FORMS = {
    "github-workflows": [".github/workflows/ci.yml"],
    "github-issue-forms": [f".github/ISSUE_TEMPLATE/{name}.yml" for name in ("unclear", "wish", "wrong")],
    "github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"],
    "readthedocs": [".readthedocs.yaml"],
}
BESIDE = "pytest -n 3 --dist loadfile"  # three pages at a time: half of what an example takes is waiting


def install(session: nox.Session, *groups: str, extras: str = EXTRAS) -> None:
    """Install the package from this checkout, with these extras and these groups of dependencies.

    An environment that has them already stays as it is, so that one page takes seconds.
    """
    wanted = ["-e", f".[{extras}]", *nox.project.dependency_groups(PROJECT, *groups)]
    state = "\n".join([*wanted, *(Path(name).read_text() for name in ("pyproject.toml", "lmtpref/__init__.py"))])
    kept = Path(session.virtualenv.location, "installed.txt")
    if not kept.is_file() or kept.read_text() != state:
        session.install(*wanted)
        kept.write_text(state)


@nox.session
def doctests(session: nox.Session) -> None:
    """The spec: play every document, then ask how much of lmtpref/ they reached.  `-- PAGE` plays one."""
    install(session, "test")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", *(["pytest", *session.posargs] if session.posargs else BESIDE.split()))
    session.run("coverage", "combine", "--quiet")
    if not session.posargs:
        session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style of the code, and the files that a forge and a documentation host read."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    for schema, names in FORMS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *names)


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly: ours, and those of a project that uses lmtpref."""
    install(session, "types")
    session.run("mypy")
    session.run("pytest", "-o", "timeout=600", "docs/corners/outside-project.rst", env={"LMTP_TYPES": "1"})


@nox.session(default=False)
def clients(session: nox.Session) -> None:
    """Other people's clients: swaks and curl, if they are installed, nodemailer and aiosmtplib; writes docs/use/clients.json."""
    session.install("-e", ".", "aiosmtplib")
    folder = session.create_tmp()
    session.run("npm", "install", "--prefix", folder, "nodemailer", external=True)
    session.run("python", "docs/use/clients.py", env={"NODE_PATH": f"{folder}/node_modules"})


@nox.session(default=False)
def site(session: nox.Session) -> None:
    """Look at the rendered documents in Debian's Chromium, which root installs if it is missing; screenshots go to build/site."""
    install(session, "docs", "site")
    if not (shutil.which("chromium") and shutil.which("chromedriver")) and os.geteuid() == 0:
        session.run("apt-get", "update", "-q", external=True)
        session.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "chromium-driver", external=True)
    session.run(*SPHINX.split(), "-q")
    session.run("python", "docs/browser.py", success_codes=[0, 77])


@nox.session(default=False)
def offline(session: nox.Session) -> None:
    """The documents for reading offline: one page in build/singlehtml, and build/epub/lmtpref.epub."""
    install(session, "docs")
    for builder in ("singlehtml", "epub"):
        options = ["-E", "-W", "--keep-going", "-n", "-q", "-b", builder, "-d", f"build/doctrees-{builder}"]
        session.run("sphinx-build", *options, "docs", f"build/{builder}")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """The sdist, and the wheel made from it, in build/dist: checked, built twice to the same bytes, and tried where nothing else is."""
    session.install(*nox.project.dependency_groups(PROJECT, "build"))
    commit_time = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    stamp = {"SOURCE_DATE_EPOCH": str(commit_time).strip()}
    kept, again = Path("build/dist"), Path("build/dist-again")
    for folder in (kept, again):
        shutil.rmtree(folder, ignore_errors=True)
        session.run("python", "-m", "build", "--no-isolation", "-o", str(folder), env=stamp, silent=True)
    files = sorted(kept.iterdir())
    session.run("twine", "check", "--strict", *map(str, files))
    if different := [file.name for file in files if file.read_bytes() != (again / file.name).read_bytes()]:
        session.error(f"two builds differ: {', '.join(different)}")
    session.run("python", "-m", "venv", "--clear", "build/clean")
    python = str(Path("build/clean/bin/python").absolute())
    session.run(python, "-m", "pip", "install", "-q", str(files[0]), "pytest", external=True)
    session.run(python, "-P", "docs/installed.py", str(Path.cwd()), external=True)


@nox.session(default=False)
def mailman(session: nox.Session) -> None:
    """The pages about GNU Mailman 3, with a Mailman of its own that a user without privileges runs; what is skipped is named."""
    install(session, "test", "sql", extras=f"{EXTRAS},mailman")
    session.run(*MAILMAN.split(), *session.posargs)


def runs(name: str, why: str, command: str, *groups: str, python: list[str] | None = None, default: bool = False, **options: Any) -> None:  # noqa: ANN401 - as nox has them
    """Add a session that runs one command, with these groups of dependencies."""

    def run(session: nox.Session) -> None:
        install(session, *groups)
        session.run(*command.split(), *session.posargs, **options)

    run.__doc__ = why
    nox.session(name=name, python=python, default=default)(run)


SPHINX = "sphinx-build -E -W --keep-going -n -j auto docs build/docs"  # -E: the search index of a partial build lacks the other pages
POSTGRESQL = "python docs/use/private_postgresql.py pytest docs/use/directory-sql.rst"
ENGINES = "python docs/use/private_engines.py pytest docs/use/queues-postgresql.rst docs/use/queues-rabbitmq.rst docs/use/front-ends.rst"
ENGINES_RUN: dict[str, Any] = {"env": {"LMTP_ENGINES": "1"}, "success_codes": [0, 77]}
MTAS = "pytest -o timeout=600 -o faulthandler_timeout=660 docs/mta/postfix.rst docs/mta/exim.rst docs/mta/sendmail.rst"
MAILMAN = (
    "pytest -rs -n 2 --dist loadfile -o timeout=600 -o faulthandler_timeout=660"
    " -W ignore::DeprecationWarning"  # GNU Mailman 3.3.10 uses what Python deprecates
    " docs/mta/mailman.rst docs/mta/mailman-directory.rst docs/mta/mailman-postfix.rst"
    " docs/corners/mailman.rst docs/acceptance/mailman-session.rst docs/compatibility.rst"
)
PEERS = "python docs/peers/play.py"
JUDGES = "python docs/corners/judges.py"
PROPERTIES = "pytest -o timeout=0 -o faulthandler_timeout=0 docs/corners/properties.rst"  # what tries that long does not hang
PROPERTIES_RUN: dict[str, Any] = {"env": {"LMTP_EXAMPLES": os.environ.get("LMTP_EXAMPLES", "5000")}}
BESIDE_DOCS = {"PYTHONPATH": "docs/mta"}  # what unpacks Debian's packages
PYTHONS = nox.project.python_versions(PROJECT)
runs("docs", "Render the documents into build/docs; a warning is an error.", SPHINX, "docs", default=True)
runs("sockets", "The documents once more, transcripts over TCP and over a Unix socket.", BESIDE, "test", env={"LMTP_WIRES": "tcp,unix"})
runs("pythons", "The documents on each Python we support that is found here; the others are named.", BESIDE, "test", python=PYTHONS)
runs("mtas", "The pages about MTAs, with real ones, unpacked from Debian's packages; needs root.", MTAS, "test", env={"LMTP_MTAS": "1"})
runs("peers", "Play `lmtpref check` to other people's servers and clients; writes two files in docs/peers.", PEERS, "test", env=BESIDE_DOCS)
runs("sql", "The page about databases, on a PostgreSQL; what is skipped is named.", POSTGRESQL, "test", "sql", success_codes=[0, 77])
runs("engines", "Queues on a PostgreSQL and a RabbitMQ of its own; what is skipped is named.", ENGINES, "test", "sql", **ENGINES_RUN)
runs("headers", "The header reader on real mail, downloaded for it.", "python docs/corners/headers.py", "headers", success_codes=[0, 77])
runs("judges", "What each judge does with real mail; writes docs/corners/judges.json.", JUDGES, "headers", success_codes=[0, 77])
runs("fuzz", "Random octets, guided by coverage; `-- SECONDS`, of which 60 are the default.", "python docs/corners/fuzz.py", "fuzz")
runs("properties", "5,000 new examples of each property, or as many as LMTP_EXAMPLES says.", PROPERTIES, "test", **PROPERTIES_RUN)
runs(
    "mutants",
    "Deliberate mistakes, which the documents must notice.  `-- COUNT SEED`",
    "python docs/corners/mutate.py",
    "test",
)
runs("soak", "10,000 connections, 1,000,000 messages, minutes; `-- CONNECTIONS MESSAGES` for others.", "python docs/corners/soak.py")
runs(
    "bench",
    "How fast: all of docs/performance/, a quarter of an hour; `-- SCRIPT` runs one.",
    "python docs/performance",
    "test",
    "sql",
    "bench",
)
runs("serve", "The reference server, with the cast's three lists unless `-- CONFIG.toml` names others.", "lmtpref serve")
