"""The author of a message, as far as the trusted MTA's Authentication-Results fields authenticate it (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import combinations
from typing import Any, NamedTuple

from lmtpref.lists.addresses import parse_domain
from lmtpref.lists.policy.header import MAX_VALUE_OCTETS, Header
from lmtpref.lists.policy.result_field import authres, results_in
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError
from lmtpref.protocol.syntax import Path

# RFC 8617 section 4.2.1: an instance number is at most 50.
MAX_ARC_INSTANCE = 50
# The fields of the trusted id, together at most MAX_VALUE_OCTETS long; a message with more has no authenticated author.
MAX_RESULT_FIELDS = 10

# RFC 2045 section 5.1: a token, without the characters that only a quoted string may contain.
_TOKEN = re.compile(r"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]{1,255}")
_INSTANCE = re.compile(r"\s*i\s*=\s*(\d{1,2})\s*;", re.ASCII)
# For each method, the property that names the authenticated domain (RFC 8601 section 2.7, RFC 7489 section 11.2).
_PROPERTIES = {"dmarc": ("header", "from"), "dkim": ("header", "d"), "spf": ("smtp", "mailfrom")}
_ARC = "arc"
_FIELDS = ("authentication-results", "arc-seal", "arc-authentication-results")
# The methods of which one result that passes is enough.
_ANY = frozenset({"dkim", "spf"})

# Whether each method passed; None for a domain without a DMARC policy.
Results = dict[str, bool | None]


class Trust(NamedTuple):
    """The MTA whose authentication results count, by its authserv-id, and the ARC sealers that count.  Both are in lower case."""

    authserv_id: str
    arc_sealers: frozenset[str] = frozenset()


class Author(NamedTuple):
    """The address in From if the results authenticate its domain, else None; and the results or the problem."""

    path: Path | None
    reason: str

    def __str__(self) -> str:
        return f"{self.path.address if self.path else 'not authenticated'}: {self.reason}"


def parse_trust(authserv_id: str | None, arc_sealers: Collection[str]) -> Trust | None:
    """Return the trust that two settings describe; None without an authserv-id.

    Raises ConfigurationError: if the id is not a token, a sealer is not a domain, there are sealers without an id, or
    authres is not installed.
    """
    sealers = frozenset(a_labels(parse_domain(sealer, key="trusted_arc_sealers")) for sealer in arc_sealers)
    if authserv_id is None:
        if sealers:
            raise ConfigurationError("needs trusted_authserv_id, the MTA that checks the seals", key="trusted_arc_sealers")
        return None
    if not _TOKEN.fullmatch(authserv_id):
        raise ConfigurationError(f"not a token (RFC 8601 section 2.5): {authserv_id!r}", key="trusted_authserv_id")
    authres()
    return Trust(authserv_id.lower(), sealers)


def author_of(header: Header, trust: Trust) -> Author:
    """Return the author of the message with this header.  No header makes it raise an exception.

    The first Authentication-Results field of the trusted id decides.  It counts only if no other field of that id
    contradicts it and if From is one field with one address.
    """
    path = header.sole_author
    if path is None:
        return Author(None, "From is not one field with one address")
    fields = list(header.strict_fields(*_FIELDS))
    texts = [body for name, body in fields if name == "authentication-results" and _is_of(trust.authserv_id, body)]
    if not texts:
        return Author(None, f"no Authentication-Results of {trust.authserv_id}")
    domain = a_labels(path.domain)
    few = len(texts) <= MAX_RESULT_FIELDS and sum(map(len, texts)) <= MAX_VALUE_OCTETS
    said = [results for text in texts if few and (results := _results(text, domain)) is not None]
    if len(said) < len(texts):
        return Author(None, f"an Authentication-Results of {trust.authserv_id} cannot be read")
    if disputed := _disputed(said):
        return Author(None, f"fields of {trust.authserv_id} disagree about {', '.join(disputed)}")
    passed, reason = _verdict(said, domain)
    if not passed and said[0].get(_ARC):
        passed, reason = _arc_verdict(fields, trust.arc_sealers, domain)
    return Author(path if passed else None, reason)


def _is_of(authserv_id: str, body: str) -> bool:
    """Return whether the body begins with the id as MTAs write it: in ASCII, without a comment before it, without quotes."""
    text, length = body.lstrip(" \t"), len(authserv_id)
    # In lower case, the Kelvin sign (U+212A) becomes the letter k.
    return text[:length].isascii() and text[:length].lower() == authserv_id and text[length : length + 1] in ("", " ", "\t", ";")


def _disputed(said: list[Results]) -> list[str]:
    """Return the methods about which two fields disagree."""
    return sorted({method for one, other in combinations(said, 2) for method in one.keys() & other.keys() if one[method] != other[method]})


def _verdict(said: list[Results], domain: str) -> tuple[bool, str]:
    """Return whether the fields' results authenticate `domain`, and why."""
    if any(results.get("dmarc") is False for results in said):
        return False, f"dmarc did not pass for {domain}"
    for method, (kind, name) in _PROPERTIES.items():
        if said[0].get(method):
            return True, f"{method}=pass {kind}.{name}={domain}"
    return False, f"no method passed for {domain}"


def _results(body: str, domain: str) -> Results | None:
    """Return whether each method passed for `domain`, for the methods that say anything about it; None if the field is unreadable."""
    parsed = results_in(body, {*_PROPERTIES, _ARC}) if len(body) <= MAX_VALUE_OCTETS else None
    if parsed is None:
        return None
    words: dict[str, set[str]] = {}
    for result in parsed:
        method = str(result.method).lower()
        if _is_about(result, method, domain):
            words.setdefault(method, set()).add(str(result.result).lower())
    return {method: _has_passed(method, of_method) for method, of_method in words.items()}


def _has_passed(method: str, words: set[str]) -> bool | None:
    """Return whether a method with these results passed; None if there was nothing to check.

    One DKIM signature or SPF result that passes is enough; DMARC and ARC have one result.
    RFC 7489 section 11.2: `none` says that the domain has no DMARC policy.
    """
    if method in _ANY:
        return "pass" in words
    return None if method == "dmarc" and words == {"none"} else words == {"pass"}


def _is_about(result: Any, method: str, domain: str) -> bool:  # noqa: ANN401 - authres has no types
    """Return whether a result has the method's property once, with this domain; ARC has none that counts."""
    if method == _ARC:
        return True
    if result.version not in (None, "1"):
        return False
    kind, name = _PROPERTIES[method]
    values = [str(p.value) for p in result.properties if (p.type.lower(), p.name.lower()) == (kind, name)]
    return len(values) == 1 and a_labels(values[0].rpartition("@")[2]) == domain


def _arc_verdict(fields: list[tuple[str, str]], sealers: frozenset[str], domain: str) -> tuple[bool, str]:
    """Return whether a chain that the MTA found valid authenticates `domain`: by trusted sealers only, and by the first one's results."""
    seals = _by_instance(body for name, body in fields if name == "arc-seal")
    saw = _by_instance(body for name, body in fields if name == "arc-authentication-results")
    if seals is None or saw is None or seals.keys() != saw.keys():
        return False, "arc=pass, but the ARC fields are not one set for each instance"
    signers = [_tags(body).get("d", "") for body in seals.values()]
    if untrusted := [signer for signer in signers if not signer or a_labels(signer) not in sealers]:
        return False, f"arc=pass, but {untrusted[0] or 'a sealer without a domain'} is not one of trusted_arc_sealers"
    results = _results(saw[1], domain)
    if results is None:
        return False, "arc=pass, but the first sealer's results cannot be read"
    passed, reason = _verdict([results], domain)
    return passed, f"arc=pass by {', '.join(signers)}: {reason}"


def _by_instance(bodies: Iterator[str]) -> dict[int, str] | None:
    """Return the rest of each body by its instance, from 1 on; None if an instance is missing, repeated or malformed."""
    found: dict[int, str] = {}
    for body in bodies:
        match = _INSTANCE.match(body)
        if match is None or int(match[1]) in found:
            return None
        found[int(match[1])] = body[match.end() :]
    complete = found.keys() == set(range(1, len(found) + 1)) and 0 < len(found) <= MAX_ARC_INSTANCE
    return dict(sorted(found.items())) if complete else None


def _tags(body: str) -> dict[str, str]:
    """Return the tags of a tag-list (RFC 6376 section 3.2); a repeated tag has no value."""
    tags: dict[str, str] = {}
    for part in body.split(";"):
        name, _, value = part.partition("=")
        tags[name.strip()] = "" if name.strip() in tags else value.strip()
    return tags
