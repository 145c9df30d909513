"""Take the picture in README.md: the front page of the built book, its slider moved."""

from __future__ import annotations

from playwright.sync_api import sync_playwright

from chromium import find
from execute import ROOT

PAGE = ROOT / "_build/html/book/index.html"
SETTING = "#fig-front?momentum=0.7"
PICTURE = ROOT / "book/assets/readme.png"


def main() -> None:
    """Write the picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(PAGE.as_uri() + SETTING)
        page.wait_for_function("document.querySelector('#fig-front').livejax")
        page.evaluate("document.querySelector('#fig-front').livejax.ready")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
