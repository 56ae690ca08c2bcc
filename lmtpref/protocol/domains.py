"""Internationalised domain names: the form that is compared, and the form that people read."""

from __future__ import annotations

import re
from functools import lru_cache

# RFC 5890 section 2.3.2.1: an A-label begins with "xn--" in any case.
_A_LABEL = re.compile(r"(?i)\bxn--")
# UTS 46 section 2.3: these characters are equivalent to the dot between two labels.
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
MAX_DOMAIN_CHARACTERS = 255  # of which U-labels are translated; RFC 5321 section 4.5.3.1.2 allows 255 octets


def a_labels(domain: str) -> str:
    """Return `domain` in the form that is compared: in lower case, with A-labels for U-labels (RFC 5891 section 4).

    Capitals and compatibility characters are mapped first (RFC 5895, UTS 46).
    A label that IDNA 2008 does not allow is only put into lower case.

    >>> a_labels("Lists.Bücher.example")
    'lists.xn--bcher-kva.example'
    """
    return domain.lower() if domain.isascii() else _a_labels(domain)


def ascii_name(name: str) -> str:
    """Return the host name `name` in ASCII: as given if it is in ASCII, and otherwise as A-labels."""
    return name if name.isascii() else a_labels(name)


def can_be_looked_up(host: str) -> bool:
    """Return whether the resolver takes `host`, a name or an IP address: it takes no empty label, and none over 63 octets."""
    try:
        a_labels(host).encode("idna")
    except UnicodeError:
        return False
    return True


def u_labels(domain: str) -> str:
    """Return `domain` with each A-label as its U-label (RFC 5891 section 5); a label that has none stays as it is.

    >>> u_labels("xn--bcher-kva.example")
    'bücher.example'
    """
    return _u_labels(domain) if _A_LABEL.search(domain) else domain


def both_spellings(domain: str) -> tuple[str, ...]:
    """Return `domain` as A-labels and as U-labels, if it has two spellings."""
    if domain.isascii() and not _A_LABEL.search(domain):
        return ()
    return a_labels(domain), u_labels(a_labels(domain))


# The same few domains recur; the length of a command line bounds each entry.
@lru_cache(maxsize=2048)
def _a_labels(domain: str) -> str:
    if len(domain) > MAX_DOMAIN_CHARACTERS:
        return domain.lower()
    return ".".join(label.lower() if label.isascii() else _a_label(label) for label in _DOTS.split(domain))


@lru_cache(maxsize=2048)
def _u_labels(domain: str) -> str:
    if len(domain) > MAX_DOMAIN_CHARACTERS:
        return domain
    return ".".join(_u_label(label) if _A_LABEL.match(label) else label for label in domain.split("."))


def _a_label(label: str) -> str:
    import idna

    try:
        return idna.alabel(idna.uts46_remap(label, std3_rules=False)).decode()
    except UnicodeError:
        return label.lower()


def _u_label(label: str) -> str:
    import idna

    try:
        return idna.ulabel(label.lower())
    except UnicodeError:
        return label
