"""The files of `lmtpref maps` for each MTA: tables of the lists, and the configuration lines that use them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lmtpref.cli.maps_addresses import ListAtDomain, addresses_of, domains_of, quoted
from lmtpref.net.listeners import Address, TcpAddress

Files = dict[str, str]

_MADE = "# Made by `lmtpref maps`, which makes it again: do not edit.\n"
_PATTERNS = ("regexp", "pcre")
_POSTMASTER = "postmaster"


def postfix(places: list[ListAtDomain], hop: Address, where: Path, *, type_: str, service: str, class_: str) -> Files:
    """Return Postfix's `transport` and `recipients`, `virtual` for the class of that name, and the lines of main.cf.

    With the class `virtual`, Postfix owns the alias domains and forwards to the lists' own addresses.
    """
    next_hop = f"{service}:inet:{hop}" if isinstance(hop, TcpAddress) else f"{service}:{hop}"
    ours = [place for place in places if not (class_ == "virtual" and place.is_alias)]
    aliases = [place for place in places if class_ == "virtual" and place.is_alias and place.domain not in domains_of(ours)]
    files = {
        "transport": _table(type_, ours, dict.fromkeys(ours, next_hop), next_hop),
        "recipients": _table(type_, ours, {place: f"{place.name}@{place.own}" for place in ours}, _POSTMASTER),
    }
    if aliases:
        files["virtual"] = _virtual(type_, aliases)
    return files | {"main.cf": _MADE + "".join(f"{line}\n" for line in _main(type_, where, class_, domains_of(ours), domains_of(aliases)))}


def exim(places: list[ListAtDomain], hop: Address, where: Path) -> Files:
    """Return Exim's `lists`, in the format of an alias file, and the router and the transport that use it."""
    lines = [f"{_POSTMASTER}@{domain}: {_POSTMASTER}" for domain in domains_of(places)]
    lines += [f"{address}: {place.name}@{place.own}" for address, place in addresses_of(places)]
    lines += [rf"^{quoted(local)}\+.*@{quoted(place.domain)}$: {place.name}@{place.own}" for place in places for local in place.open_ended]
    router = [
        "lmtpref_lists:",
        "  driver = accept",
        f"  domains = {' : '.join(domains_of(places))}",
        f"  condition = ${{lookup{{$local_part@$domain}}nwildlsearch{{{where}/lists}}{{yes}}{{no}}}}",
        "  transport = lmtpref",
    ]
    if isinstance(hop, TcpAddress):
        way = ["  driver = smtp", "  protocol = lmtp", f"  hosts = {_exim_host(hop.host)}", f"  port = {hop.port}", "  allow_localhost"]
    else:
        way = ["  driver = lmtp", f"  socket = {hop.path}", "  batch_max = 100"]
    return {
        "lists": _MADE + _text(lines),
        "router": _MADE + _text(router),
        "transport": _MADE + _text(["lmtpref:", *way, "  rcpt_include_affixes"]),
    }


def sendmail(places: list[ListAtDomain], hop: Address, where: Path) -> Files:
    """Return Sendmail's `mailertable` and `relay-domains`, and the lines of its .mc that use them."""
    host, way = (f"[{hop.host}]", f"TCP $h {hop.port}") if isinstance(hop, TcpAddress) else ("localhost", f"FILE {hop.path}")
    flags = "F=mDFMuXz8, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=990, T=DNS/RFC822/SMTP"
    mc = [
        f"FEATURE(`mailertable', `hash -o {where}/mailertable')dnl",
        f"RELAY_DOMAIN_FILE(`{where}/relay-domains')dnl",
        "MAILER(`smtp')dnl",
        "MAILER_DEFINITIONS",
        f"Mlmtpref, P=[IPC], {flags}, A={way}",
    ]
    domains = domains_of(places)
    return {
        "mailertable": _MADE + _text(f"{domain}\tlmtpref:{host}" for domain in domains),
        "relay-domains": _text(domains),
        "lists.mc": "dnl Made by `lmtpref maps'.\n" + _text(mc),
    }


def _table(type_: str, places: list[ListAtDomain], values: dict[ListAtDomain, str], postmaster: str) -> str:
    if type_ in _PATTERNS:
        lines = [f"/^{_POSTMASTER}@{quoted(domain)}$/ {postmaster}" for domain in domains_of(places)]
        lines += [f"/{place.pattern}/ {values[place]}" for place in places]
    else:
        lines = [f"{_POSTMASTER}@{domain} {postmaster}" for domain in domains_of(places)]
        lines += [f"{address} {values[place]}" for address, place in addresses_of(places)]
    return _MADE + _text(lines)


def _virtual(type_: str, aliases: list[ListAtDomain]) -> str:
    """Yield each address at an alias domain, with the same one at the list's own domain."""
    owns = {place.domain: place.own for place in aliases}
    if type_ in _PATTERNS:
        lines = [f"/^{_POSTMASTER}@{quoted(domain)}$/ {_POSTMASTER}@{own}" for domain, own in owns.items()]
        lines += [f"/{place.pattern}/ ${{1}}@{place.own}" for place in aliases]
    else:
        lines = [f"{_POSTMASTER}@{domain} {_POSTMASTER}@{own}" for domain, own in owns.items()]
        lines += [f"{address} {address.partition('@')[0]}@{place.own}" for address, place in addresses_of(aliases)]
    return _MADE + _text(lines)


def _main(type_: str, where: Path, class_: str, domains: list[str], aliases: list[str]) -> Iterable[str]:
    recipients = f"{type_}:{where}/recipients"
    yield f"transport_maps = {type_}:{where}/transport"
    if type_ not in _PATTERNS:
        yield "recipient_delimiter = +"  # so that the table needs no entry for each detail
    match class_:
        case "local":
            yield "# and in mydestination: " + " ".join(domains)
            yield f"local_recipient_maps = proxy:unix:passwd.byname $alias_maps {recipients}"
        case "mailbox":
            yield "virtual_mailbox_domains = " + " ".join(domains)
            yield f"virtual_mailbox_maps = {recipients}"
        case _:
            yield "relay_domains = " + " ".join(domains)
            yield f"relay_recipient_maps = {recipients}"
    if aliases:
        yield "virtual_alias_domains = " + " ".join(aliases)
        yield f"virtual_alias_maps = {type_}:{where}/virtual"


def _exim_host(host: str) -> str:
    """Return the host with doubled colons, because in Exim a single colon separates hosts."""
    return host.replace(":", "::")


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
