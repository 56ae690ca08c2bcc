"""Send one message with Exim: with_exim.py HOST PORT SENDER RECIPIENT..., the message on standard input.

Exim runs for this message alone, with a configuration and a spool of its own, and adds nothing to the message.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nss
from debian import unpacked
from exim import IDENTITY, PACKAGES, UNPRIVILEGED, USER

CONFIGURATION = """\
exim_path = TREE/usr/sbin/exim4
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = FOLDER/spool
log_file_path = FOLDER/%slog
primary_hostname = mta.example
host_lookup =
deliver_drop_privilege
local_from_check = false
allow_utf8_domains
received_header_text =
trusted_users = Debian-exim
acl_not_smtp_start = plain

begin acl
plain:
  accept
    control = suppress_local_fixups

begin routers
lists:
  driver = manualroute
  route_list = * HOST
  self = send
  transport = lmtp

begin transports
lmtp:
  driver = smtp
  protocol = lmtp
  port = PORT
  allow_localhost
  hosts_avoid_tls = *
  helo_data = mta.example
  size_addition = 0
"""


def main(host: str, port: str, sender: str, *recipients: str) -> int:
    """Send the message on standard input; return Exim's exit code."""
    tree = unpacked(*PACKAGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        environment = nss.environment(tree, folder, user=USER, identity=IDENTITY)
        text = CONFIGURATION.replace("TREE", str(tree.root)).replace("FOLDER", name).replace("HOST", host).replace("PORT", port)
        (folder / "exim.conf").write_text(text)
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, *IDENTITY)
        command = [*UNPRIVILEGED, f"{tree.root}/usr/sbin/exim4", "-C", f"{name}/exim.conf", "-odf", "-i", "-f", sender or "<>", "--"]
        return subprocess.run([*command, *recipients], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
