"""Certificates for the pages about MTAs, issued by an authority of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trustme


def issue(folder: Path, *hosts: str, lists: Sequence[str]) -> None:
    """Put `authority.pem`, and for each host NAME.pem and NAME.key, into `folder`; the list server, `lists`, has these names."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    for name, identities in {"lists": lists, **{host: [host] for host in hosts}}.items():
        issued = authority.issue_cert(*identities)
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        (folder / f"{name}.key").chmod(0o644)  # an MTA's processes are of several users
