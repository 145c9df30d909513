"""Folded code cells (tags hide-input, hide-output, hide-cell), as plain `<details>`.

MyST-NB's own carry a label for screen readers that differs from the words on the page.
"""

from typing import Any

from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from metabook.boxes import box, text_box

# The configuration sets MyST-NB's prompt to the bare name of what is hidden.
SUMMARIES = {"source": "Code", "content": "Code and output"}


class FoldCode(SphinxPostTransform):
    """Put our own element in the place of MyST-NB's."""

    default_priority = 200  # right after MyST-NB has folded
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for node in list(self.document.findall(HideCodeCellNode)):
            summary = text_box("summary", SUMMARIES.get(node["prompt_show"], "Output"))
            body = box("div", *node.children, classes=["fold-body"])
            node.replace_self(box("details", summary, body, classes=["code-fold", "fold"]))


def setup(app: Sphinx) -> None:
    app.add_post_transform(FoldCode)
