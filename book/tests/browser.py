"""Headless Chromium for the tests of the built site.

Every name but this machine's is unresolvable in it, and a `Tab` keeps a list of all that goes
wrong: console errors, uncaught exceptions, failed requests, and requests to any other host.
"""

import functools
import gzip
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Error, Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "tools"))

from chromium import find  # noqa: E402

HTML = ROOT / "_build" / "html"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
SCHEMES = ("light", "dark")

# Now and then, under load, Chromium stops drawing one tab for good, while others go on: it counts
# as visible, its timers run, and no frame ever comes. Whoever waits for a frame waits forever. So
# our scripts wait with a limit, and say this.
STOPPED = "Chromium stopped drawing this tab"
# What a test that fails of it says: our own words, or what Playwright says of its own waiting.
RERUN = (STOPPED, "TimeoutError")
# Every page of a `Tab` has it: `await nextFrame()`.
NEXT_FRAME = f"""
  window.nextFrame = () => new Promise((done, failed) => {{
    const late = setTimeout(() => failed(new Error("{STOPPED}")), 10_000);
    requestAnimationFrame((now) => {{ clearTimeout(late); done(now); }});
  }});
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing: the tabs report what fails."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve `folder` on a free port of this machine; yields the address, ending with a slash."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium: the one that `CHROMIUM` names, else one that the book's tool finds."""
    path = os.environ.get("CHROMIUM") or find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Tab:
    """A page in a browser context of its own, and a list of what went wrong in it.

    Args:
        browser: from `chromium`.
        scheme: "light" or "dark": what the system asks for.
        size: the viewport; narrower than 600 px it is a phone with a touch screen.
        scripts: whether scripts run.
        reduced_motion: whether the system asks for less motion.
    """

    def __init__(
        self,
        browser: Browser,
        *,
        scheme: str = "light",
        size: dict[str, int] = DESKTOP,
        scripts: bool = True,
        reduced_motion: bool = False,
    ) -> None:
        phone = size["width"] < 600
        self.context = browser.new_context(
            viewport=size,
            color_scheme=scheme,
            java_script_enabled=scripts,
            has_touch=phone,
            is_mobile=phone,
            reduced_motion="reduce" if reduced_motion else "no-preference",
            permissions=["clipboard-read", "clipboard-write"],
        )
        self.context.set_default_timeout(15_000)
        self.context.add_init_script(NEXT_FRAME)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def _console(self, message) -> None:
        # A busy Chromium asks for /favicon.ico itself, before it has seen the icon of the page.
        url = message.location.get("url") or ""
        if message.type == "error" and urlsplit(url).path != "/favicon.ico":
            self.problems.append(f"console: {message.text} ({url})")

    def _failed(self, request) -> None:
        # A page that is left while it still loads aborts its own requests.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"request failed: {request.url} {request.failure}")

    def _request(self, request) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme not in ("file", "data", "blob") and parts.hostname != "127.0.0.1":
            self.problems.append(f"request to another host: {request.url}")

    def _response(self, response) -> None:
        if response.status >= 400:
            self.problems.append(f"status {response.status}: {response.url}")

    def draws(self) -> bool:
        """Whether frames still come."""
        try:
            self.page.evaluate("async () => { await nextFrame(); await nextFrame(); }")
        except Error as error:
            if STOPPED not in str(error):
                raise
            return False
        return True

    def open(self, url: str) -> Page:
        """Go there and wait until nothing loads any more."""
        self.page.goto(url, wait_until="load")
        self.page.wait_for_load_state("networkidle")
        return self.page

    def mount(self) -> Page:
        """Scroll through the page as a reader does, then wait for every widget to stand."""
        self.page.evaluate(
            """async () => {
              for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
                scrollTo({ top: y, behavior: "instant" });
                await nextFrame();
                await nextFrame();
              }
            }"""
        )
        self.page.wait_for_function(
            """() => [...document.querySelectorAll("[data-page-widget]")]
              .every((root) => ["true", "failed"].includes(root.dataset.mounted))"""
        )
        self.page.evaluate(
            """() => Promise.all([...document.querySelectorAll("figure.livejax")]
              .map((figure) => figure.livejax?.ready))"""
        )
        self.page.evaluate("() => scrollTo({ top: 0, behavior: 'instant' })")
        return self.page

    def close(self) -> None:
        """Close the page and its context."""
        self.context.close()


def define(page: Page, name: str) -> None:
    """Run the script `name`, a file beside this one, in the page."""
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    # As a function body: what a bare script ends with, if it is a function, would be called.
    page.evaluate(f"() => {{ {script} }}")


def gzipped_size(url: str, base: str, folder: Path = HTML) -> int:
    """Bytes of what lies at `url` as a server that compresses would send it."""
    name = unquote(urlsplit(url).path).removeprefix(unquote(urlsplit(base).path))
    path = folder / name
    data = (path / "index.html" if path.is_dir() else path).read_bytes()
    # Fonts and pictures are compressed already.
    return min(len(data), len(gzip.compress(data, 6)))
