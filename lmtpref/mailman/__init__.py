"""GNU Mailman 3's LMTP runner, which rejects posts while the MTA is on the line (the extra `mailman`)."""

from lmtpref.mailman.directory import MailmanDirectory
from lmtpref.mailman.plugin import Plugin
from lmtpref.mailman.runner import Runner

__all__ = ["MailmanDirectory", "Plugin", "Runner"]
