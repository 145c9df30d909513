"""The list of references, as a plain list: citations are by author and year and need no labels."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from metabook.boxes import box


class PlainReferences(SphinxPostTransform):
    """Replace docutils' citations, whose HTML carries roles that are out of use."""

    default_priority = 310  # after citations have been resolved
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for container in list(self.document.findall(nodes.container)):
            entries = container.children
            if not entries or not all(isinstance(entry, nodes.citation) for entry in entries):
                continue
            listing = box("ul", classes=["references"])
            for entry in entries:
                words = [child for child in entry if not isinstance(child, nodes.label)]
                listing += box("li", *words, ids=entry["ids"])
            container.replace_self(listing)


def setup(app: Sphinx) -> None:
    app.add_post_transform(PlainReferences)
