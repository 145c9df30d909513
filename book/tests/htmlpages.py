"""The built site as data: what each page holds, what it loads, where its links lead."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"src", "srcset", "poster", "data"}


@dataclass
class Page:
    """What matters of one HTML file.

    `links` are the addresses of its `<a>`; `loads` are those that a browser fetches by itself.
    """

    path: Path
    text: str
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    images: list[dict[str, str | None]] = field(default_factory=list)
    lang: str | None = None
    title: str = ""


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self.in_title = False
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        page = self.page
        if values.get("id"):
            page.ids.append(values["id"])
        if tag == "html":
            page.lang = values.get("lang")
        elif tag == "a" and "href" in values:
            page.links.append(values["href"] or "")
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            page.loads.append(values["href"] or "")
        elif tag == "img":
            page.images.append(values)
        # The title of a drawing is not the title of the page.
        self.in_title = tag == "title" and not page.title
        page.loads += [values[name] or "" for name in LOADING & values.keys() if tag != "a"]

    def handle_endtag(self, tag: str) -> None:
        self.in_title = False

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.page.title += data


def read_pages(folder: Path) -> dict[str, Page]:
    """All pages below `folder`, by their path."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        if "_static" not in path.parts:
            page = Page(path, path.read_text(encoding="utf-8"))
            _Reader(page)
            pages[path.relative_to(folder).as_posix()] = page
    return pages


def is_elsewhere(address: str) -> bool:
    """Whether an address leaves the site."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def broken(pages: dict[str, Page]) -> Iterator[str]:
    """One line for each link or loaded file of the site itself that is not there."""
    by_path = {page.path.resolve(): page for page in pages.values()}
    for name, page in pages.items():
        for address in page.links + page.loads:
            parts = urlsplit(address)
            if is_elsewhere(address) or parts.scheme == "data":
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if not target.is_file():
                yield f"{name}: {address} leads to no file"
            elif parts.fragment and unquote(parts.fragment) not in by_path[target.resolve()].ids:
                yield f"{name}: {address} leads to no such place"
