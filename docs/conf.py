"""How Sphinx renders the documents.  Nothing here is fetched from a network."""

from importlib.metadata import version as version_of
from importlib.util import find_spec

from sphinx.application import Sphinx

project = "lmtpref"
author = "The lmtpref authors"
project_copyright = "2026, The lmtpref authors"
release = version = version_of("lmtpref")

extensions = [
    "lmtpref.doctools.sphinx",  # highlights transcripts and names them
    "sphinx.ext.autodoc",  # the docstrings of the public names
    "sphinx_copybutton",  # copies an example without its prompts
]
exclude_patterns = ["_static"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types in signatures: Python's own inventory would have to be fetched
# Some public names need an extra, which need not be installed for their documents.
autodoc_mock_imports = [name for name in ("aio_pika", "sqlalchemy") if find_spec(name) is None]
autodoc_default_options = {"exclude-members": "class_, subject, detail"}  # a tuple says of its fields that they are fields

html_theme = "furo"
html_title = f"lmtpref {release}"
html_static_path = ["_static"]
html_css_files = ["rationale.css"]
html_show_sphinx = False

_CHECK = "lmtpref check HOST:PORT NAME GIVEN"
_CHECK_CLIENT = 'lmtpref check --client "PROGRAM {host} {port}" NAME'
lmtp_server_commands = {"rfc2033": _CHECK, "extensions": _CHECK, "acceptance": f"{_CHECK} --suite acceptance"}
lmtp_client_commands = {"rfc2033": _CHECK_CLIENT, "extensions": _CHECK_CLIENT}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
epub_show_urls = "no"


def setup(app: Sphinx) -> None:
    """Register ``.. fixture:: NAME``, as pytest's own documents have it: other projects can then link to a fixture by its name."""
    app.add_crossref_type("fixture", "fixture", objname="pytest fixture", indextemplate="single: %s")
