"""How Sphinx renders the documents.  Nothing here is fetched from a network."""

from html import escape
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

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
html_css_files = ["rationale.css", "plots.css"]
html_show_sphinx = False

_CHECK = "lmtpref check HOST:PORT NAME GIVEN"
_CHECK_CLIENT = 'lmtpref check --client "PROGRAM {host} {port}" NAME'
lmtp_server_commands = {"rfc2033": _CHECK, "extensions": _CHECK, "acceptance": f"{_CHECK} --suite acceptance"}
lmtp_client_commands = {"rfc2033": _CHECK_CLIENT, "extensions": _CHECK_CLIENT}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
epub_show_urls = "no"


class InlinePlots(SphinxPostTransform):
    """A transform that puts each plot into its page, because the colours of an image do not follow the page's theme."""

    default_priority = 500
    builders = ("html", "singlehtml")  # an EPUB keeps the images

    def run(self, **_kwargs: object) -> None:
        """Replace the plots of one document."""
        for image in [image for image in self.document.findall(nodes.image) if image["uri"].endswith(".svg")]:
            plot = Path(self.env.srcdir, image["uri"]).read_text(encoding="utf-8")
            drawn = f'<div class="plot" role="group" aria-label="{escape(image["alt"])}">{plot}</div>'
            image.replace_self(nodes.raw("", drawn, format="html"))


def setup(app: Sphinx) -> None:
    """Register ``.. fixture:: NAME``, as pytest's own documents have it: other projects can then link to a fixture by its name."""
    app.add_crossref_type("fixture", "fixture", objname="pytest fixture", indextemplate="single: %s")
    app.add_post_transform(InlinePlots)
