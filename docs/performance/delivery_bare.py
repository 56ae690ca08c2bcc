"""What pipe(8) starts for each message: keeps it in a Maildir, and asks nothing.  delivery_bare.py MAILDIR, the message on standard input.

It is run without site-packages, and imports next to nothing.
"""

from __future__ import annotations

import os
import sys
import time


def keep(maildir: str) -> None:
    """Write, sync, rename, sync; return when the message is safe."""
    name = f"{time.time():.6f}.P{os.getpid()}.mx"
    unfinished, finished = (f"{maildir}/{folder}/{name}" for folder in ("tmp", "new"))
    with open(unfinished, "xb") as file:  # noqa: PTH123 - pathlib is not next to nothing
        file.write(sys.stdin.buffer.read())
        file.flush()
        os.fsync(file.fileno())
    os.rename(unfinished, finished)  # noqa: PTH104 - as above
    folder = os.open(f"{maildir}/new", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    try:
        keep(sys.argv[1])
    except OSError as fault:
        print(fault)
        sys.exit(os.EX_TEMPFAIL)
