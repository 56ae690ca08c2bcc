"""The Mailman plugin that names the runner's configuration file."""

from __future__ import annotations

from lazr.config import as_boolean
from mailman.config import config
from mailman.interfaces.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin)
class Plugin:
    """A plugin that adds nothing to Mailman; `configuration` in its section is the file that `Runner` reads."""

    name = ""
    resource = None

    def pre_hook(self) -> None:
        """Do nothing before Mailman opens its database."""

    def post_hook(self) -> None:
        """Do nothing after Mailman has opened its database."""


def configured_file() -> str | None:
    """Return the configuration file in the section of an enabled `Plugin`; None without one."""
    for _, section in config.plugin_configs:
        if section["class"].strip() == f"{__package__}.{Plugin.__name__}" and as_boolean(section["enabled"]):
            return section["configuration"].strip() or None
    return None
