"""Users, groups and a host name that this machine lacks, for the processes of an MTA alone (nss_wrapper; cwrap.org)."""

from __future__ import annotations

import socket
from pathlib import Path

from debian import Tree

PACKAGE = "libnss-wrapper"


def environment(tree: Tree, folder: Path, *, user: str = "", identity: tuple[int, int] = (0, 0), host: str = "") -> dict[str, str]:
    """Return the environment for a program of `tree`, which has PACKAGE, to find `user` with `identity`, or `host` as the full host name.

    An identity is a uid and a gid; `folder` is where the tables of users, groups and hosts are written.
    """
    uid, gid = identity
    tables = {
        "NSS_WRAPPER_PASSWD": (Path("/etc/passwd"), f"{user}:x:{uid}:{gid}::/nonexistent:/usr/sbin/nologin\n"),
        "NSS_WRAPPER_GROUP": (Path("/etc/group"), f"{user}:x:{gid}:\n"),
    }
    [wrapper] = tree.root.rglob("libnss_wrapper.so")
    names = {"LD_PRELOAD": str(wrapper)}
    if host:
        hosts = folder / "hosts"
        hosts.write_text(f"127.0.0.1 {host} {socket.gethostname()} localhost\n")
        names["NSS_WRAPPER_HOSTS"] = str(hosts)
    for variable, (table, line) in tables.items():
        copy = folder / table.name
        copy.write_text((line if user else "") + table.read_text())
        names[variable] = str(copy)
    return tree.environment | names
