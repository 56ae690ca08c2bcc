"""The Mailman plugin that names the runner's configuration file."""

from __future__ import annotations

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

    @property
    def configuration(self) -> str | None:
        """The value of `configuration` in the plugin's section; None if it is empty."""
        sections = dict(config.plugin_configs)
        return sections[self.name]["configuration"].strip() or None


def configured_file() -> str | None:
    """Return the configuration file in the section of an enabled `Plugin`; None without one."""
    plugins = (plugin for plugin in config.plugins.values() if isinstance(plugin, Plugin))
    return next((plugin.configuration for plugin in plugins), None)
