"""Look at the rendered documents as a reader does, in a headless Chromium; `nox -s site` runs it on build/docs.

Every page: no error on the console, no request to another host, no horizontal scroll at 390 px, and in both themes
enough contrast in ladders, citations and the pictures.  On a wide screen, the Tab key follows the order of each page.
Then the search finds the right page first, every link leads somewhere, and every name is in the index (docs/links.py).
Screenshots go to build/site.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote, urlsplit

import links
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

SKIPPED_EXIT = 77
PAGES, SHOTS = Path("build/docs"), Path("build/site")
NARROW, WIDE = (390, 844), (1280, 900)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
SHOWN = (
    "index",
    "tour",
    "rfc2033/4.2-data",
    "acceptance/matrix",
    "acceptance/codes",
    "acceptance/policy",
    "acceptance/rcpt",
    "ledger",
    "flow",
    "use/configuration",
    "use/pytest",
    "peers",
    "performance/curves",
    "reference",
)

# Queries of readers, and the page that must come first.
SEARCHES = {
    "550": "acceptance/codes",
    "5.7.2": "acceptance/codes",
    "550 5.7.2": "acceptance/codes",
    "503": "acceptance/codes",
    "552 5.3.4": "acceptance/codes",
    "2033-4.2-a": "ledger",
    "backscatter": "acceptance/backscatter",
    "closed_list": "acceptance/policy",
    "max_recipients": "use/configuration",
    "lmtp_server": "use/pytest",
    "lmtp_script": "use/pytest",
    "lmtp_case": "use/check",
    "LHLO": "rfc2033/4.1-lhlo",
    "DATA": "rfc2033/4.2-data",
    "RCPTMAX": "extensions/limits",
    "list_members": "mta/mailman",
    "prvs": "acceptance/senders",
    "lmtpref check": "use/check",
}

# The text in these must have a contrast of 4.5 (WCAG 2, level AA); a label in ::before or ::after counts as well.
CONTRAST = """
const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (front, back) => front.slice(0, 3).map((c, i) => c * front[3] + back[i] * (1 - front[3])).concat(1);
const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                     return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = element => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
  const box = element.closest(".lmtp-picture g")?.querySelector("rect");
  if (box) layers.unshift(rgba(getComputedStyle(box).fill));
  return layers.reverse().reduce((back, front) => over(front, back), [255, 255, 255, 1]);
};
const bad = {};
const judge = (element, color, what) => {
  const back = ground(element), [a, b] = [light(over(rgba(color), back)), light(back)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) bad[`${what}: ${color} on ${back.slice(0, 3).map(Math.round)} is ${ratio.toFixed(2)}`] = 1;
};
for (const root of document.querySelectorAll(".lmtp-transcript, .citation-of-clauses, svg.lmtp-picture, .plot svg")) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("style, title")) continue;
    const style = getComputedStyle(element);
    judge(element, element.closest("svg") ? style.fill : style.color, element.className.baseVal ?? element.className);
  }
  for (const element of root.querySelectorAll("[data-label], [data-caption]"))
    for (const side of ["::before", "::after"])
      if (getComputedStyle(element, side).content !== "none") judge(element, getComputedStyle(element, side).color, side);
}
return Object.keys(bad);
"""


# At 390 px, the text of each picture and plot has at least this size, and none of it is beyond the frame.
SMALLEST = 10
PICTURES = """
const bad = {};
for (const image of document.querySelectorAll('img[src$=".svg"]')) bad[`picture: does not follow the theme: ${image.src}`] = 1;
for (const svg of document.querySelectorAll("svg.lmtp-picture, .plot svg")) {
  const frame = svg.getBoundingClientRect(), scale = frame.width / svg.viewBox.baseVal.width;
  for (const text of svg.querySelectorAll("text")) {
    const size = parseFloat(getComputedStyle(text).fontSize) * scale, edge = text.getBoundingClientRect().right;
    if (size < arguments[0]) bad[`picture: text of ${size.toFixed(1)} px`] = 1;
    if (edge > frame.right + 1) bad[`picture: beyond the frame: ${text.textContent}`] = 1;
  }
}
return Object.keys(bad);
"""

TABS = 25
# Note the position of each element that gets the focus.
FOCUSED = """
const all = [...document.querySelectorAll("*")];
window.visited = [];
document.addEventListener("focusin", event => window.visited.push(all.indexOf(event.target)));
"""
OUT_OF_ORDER = "return [...document.querySelectorAll('[tabindex]')].filter(e => e.tabIndex > 0).map(e => e.outerHTML.slice(0, 80))"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def send_error(self, code: int, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as the base class has them
        """Answer 204 for the picture that a browser asks for unasked."""
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().send_error(code, *arguments, **options)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Browser:
    """A Chromium with a fresh profile, at the documents."""

    def __init__(self, origin: str, profile: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.origin = origin

    def size(self, width: int, height: int) -> None:
        """Set the size of the window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, page: str) -> None:
        """Load a page."""
        self.driver.get(f"{self.origin}/{page}")

    def theme(self, name: str) -> None:
        """Set the theme of the page, as its button does."""
        self.driver.execute_script("document.body.dataset.theme = arguments[0]", name)

    def complaints(self) -> Iterator[str]:
        """Yield the errors on the console and the requests to other hosts since the last call."""
        console, network = (self.driver.execute("getLog", {"type": kind})["value"] for kind in ("browser", "performance"))
        yield from (f"console: {entry['message']}" for entry in console if entry["level"] == "SEVERE")
        for entry in network:
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if urlsplit(url).scheme in {"http", "https", "ws", "wss"} and not url.startswith(self.origin + "/"):
                    yield f"request to another host: {url}"


def look(browser: Browser, page: str) -> Iterator[str]:
    """Yield the problems of one page."""
    browser.open(f"{page}.html")
    width = browser.driver.execute_script("return document.documentElement.scrollWidth")
    if width > NARROW[0]:
        yield f"scrolls horizontally: {width} px"
    yield from browser.driver.execute_script(PICTURES, SMALLEST)
    for theme in ("light", "dark"):
        browser.theme(theme)
        yield from (f"{theme}: contrast: {problem}" for problem in browser.driver.execute_script(CONTRAST))
    yield from browser.complaints()


def search(browser: Browser, query: str, wanted: str) -> Iterator[str]:
    """Yield the problems with the result of one search."""
    browser.open(f"search.html?q={quote(query)}")
    finished = WebDriverWait(browser.driver, 30)
    finished.until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "#search-results ul.search li, #search-results .search-summary"))
    finished.until(lambda driver: "Search finished" in driver.page_source or "did not match" in driver.page_source)
    links = browser.driver.find_elements(By.CSS_SELECTOR, "#search-results ul.search li > a")
    first = urlsplit(links[0].get_attribute("href") or "").path if links else "nothing"
    if first != f"/{wanted}.html":
        yield f"searching {query!r} finds {first} first, not {wanted}"
    yield from (f"searching {query!r}: {complaint}" for complaint in browser.complaints())


def tab(browser: Browser, page: str) -> Iterator[str]:
    """Yield where the Tab key leaves the order in which a page is read."""
    browser.open(f"{page}.html")
    browser.driver.execute_script(FOCUSED)
    ActionChains(browser.driver).send_keys(Keys.TAB * TABS).perform()
    visited = browser.driver.execute_script("return window.visited")
    if len(visited) != TABS:
        yield f"Tab reaches {len(visited)} elements, not {TABS}"
    yield from (f"Tab goes back, from element {before} to {after}" for before, after in pairwise(visited) if after <= before)
    yield from (f"Tab skips to {element}" for element in browser.driver.execute_script(OUT_OF_ORDER))


def inventory(kind: str) -> Iterator[str]:
    """Yield the names of one kind in the inventory that other projects read for their links."""
    text = zlib.decompress((PAGES / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    yield from (name for name, of_kind, *_ in (line.split() for line in text.splitlines()) if of_kind == kind)


def shoot(browser: Browser) -> None:
    """Take the screenshots."""
    for page in SHOWN:
        for theme, (width, height) in (("light", WIDE), ("dark", WIDE), ("light", NARROW), ("dark", NARROW)):
            browser.size(width, height)
            browser.open(f"{page}.html")
            browser.theme(theme)
            browser.driver.save_screenshot(str(SHOTS / f"{page.replace('/', '-')}-{theme}-{width}.png"))


def main() -> int:
    """Check every page; print the problems, and the duration."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print("skipped: chromium or chromedriver is not installed")
        return 1 if os.environ.get("CI") == "true" else SKIPPED_EXIT
    SHOTS.mkdir(parents=True, exist_ok=True)
    pages = sorted(page.relative_to(PAGES).with_suffix("").as_posix() for page in PAGES.rglob("*.html"))
    pages = [page for page in pages if not page.startswith(("_", "search"))]
    begun, problems = monotonic(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(PAGES)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(f"http://127.0.0.1:{server.server_port}", profile)
        try:
            browser.size(*NARROW)
            problems += [f"{page}: {problem}" for page in pages for problem in look(browser, page)]
            problems += [problem for query, wanted in SEARCHES.items() for problem in search(browser, query, wanted)]
            browser.size(*WIDE)
            problems += [f"{page}: {problem}" for page in pages for problem in tab(browser, page)]
            problems += links.problems(PAGES)
            problems += [f"objects.inv has no fixture {name}" for name in sorted({*links.FIXTURES} - set(inventory("std:fixture")))]
            shoot(browser)
        finally:
            browser.driver.quit()
            server.shutdown()
            server.server_close()
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(pages)} pages, {len(SEARCHES)} searches, {len(problems)} problems, {monotonic() - begun:.0f} s; screenshots in {SHOTS}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
