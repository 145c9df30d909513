"""Accessibility of a page: axe, and our own measure of the contrast that axe leaves undecided."""

import base64
import re

from browser import ROOT, define
from playwright.sync_api import Page

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


def violations(page: Page) -> list[str]:
    """One line for each element that breaks a rule, with everything foldable unfolded.

    Rules: axe's for `TAGS`, on the whole document. Where axe cannot decide on a contrast, and
    for all text in SVG, it is measured against the pixels behind it (see `contrast.js`).
    """
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate(
        """(tags) => axe.run(document, {
          runOnly: { type: "tag", values: tags }, resultTypes: ["violations", "incomplete"],
        })""",
        TAGS,
    )
    found = [
        f"{rule['id']}: {node['target']} {_brief(node)}"
        for rule in result["violations"]
        for node in rule["nodes"]
    ]
    undecided = [
        node["target"][0]
        for rule in result["incomplete"]
        if rule["id"] == "color-contrast"
        for node in rule["nodes"]
    ]
    return found + low_contrast(page, undecided)


def _brief(node: dict) -> str:
    return re.sub(r"\s+", " ", f"{node.get('failureSummary', '')} {node['html'][:160]}")


def low_contrast(page: Page, selectors: list[str]) -> list[str]:
    """One line for each text measured, among `selectors` or in SVG, whose contrast is too low.

    The page is photographed with its text made transparent. A text's contrast is the lowest ratio
    of its own color to any color behind it that covers more than a hundredth of its box.
    """
    define(page, "contrast.js")
    found: list[str] = []
    total = page.evaluate("(selectors) => contrast.collect(selectors)", selectors)
    while page.evaluate("() => contrast.prepare()"):
        picture = base64.b64encode(page.screenshot(type="png", animations="disabled")).decode()
        found += page.evaluate("(picture) => contrast.measure(picture)", picture)
    measured = page.evaluate("() => contrast.finish()")
    assert measured == total, f"{total - measured} of {total} texts could not be measured"
    return found
