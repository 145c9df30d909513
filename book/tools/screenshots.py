"""Photograph a page of the built book for people to look at: desktop, phone, and both in the dark.

Usage: python book/tools/screenshots.py notebooks/momentum FOLDER

Every figure is drawn first, by scrolling through the page. Long pages become several pictures, and
each live figure gets one of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "tests"))

from browser import DESKTOP, HTML, PHONE, SCHEMES, Tab, chromium  # noqa: E402

TALLEST = 8000  # pixels; image viewers shrink what is taller


def photograph(name: str, folder: Path) -> list[Path]:
    """Write the pictures of page `name` into `folder` and return their paths."""
    page_file = HTML / f"{name}.html"
    if not page_file.exists():
        raise FileNotFoundError(f"no page {page_file}; `make book` builds it")
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def target(*parts: str) -> Path:
        written.append(folder / ("-".join([name.replace("/", "-"), *parts]) + ".png"))
        return written[-1]

    with chromium() as browser:
        for scheme in SCHEMES:
            for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
                tab = Tab(browser, scheme=scheme, size=size)
                tab.open(page_file.as_uri())
                page = tab.mount()
                for figure in page.locator("figure.livejax").all():
                    identifier = figure.get_attribute("id") or "figure"
                    figure.screenshot(path=target(scheme, device, identifier))
                height = page.evaluate("document.documentElement.scrollHeight")
                for part, top in enumerate(range(0, height, TALLEST)):
                    area = {
                        "x": 0,
                        "y": top,
                        "width": size["width"],
                        "height": min(TALLEST, height - top),
                    }
                    page.screenshot(
                        path=target(scheme, device, f"part{part}"), full_page=True, clip=area
                    )
                tab.close()
    return written


def main(arguments: list[str]) -> int:
    """Run as a command."""
    if len(arguments) != 2:
        print(__doc__)
        return 2
    for path in photograph(arguments[0], Path(arguments[1])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
