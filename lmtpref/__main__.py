"""`python -m lmtpref`: the same commands as the program `lmtpref`."""

import sys

from lmtpref.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
