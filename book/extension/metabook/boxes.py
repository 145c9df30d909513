"""One docutils node that stands for any HTML element, and the table wrapper made from it."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class Box(nodes.General, nodes.Element):
    """An HTML element: `tag`, `attrs` (HTML attributes), and docutils' `ids` and `classes`.

    `role` (a plain attribute of the node, not written to the page) says what the box is, so that
    transforms and checks can find it.
    """


class TextBox(nodes.TextElement):
    """The same for elements that hold a line of text."""


TEXT_TAGS = ("p", "span", "summary", "td", "th")


def box(tag: str, *children: nodes.Node, **attributes: Any) -> Any:
    """A `Box` or `TextBox`; `classes` and `ids` are lists, other HTML attributes go in `attrs`."""
    node = (TextBox if tag in TEXT_TAGS else Box)(tag=tag, attrs={})
    for name, value in attributes.items():
        node[name] = value
    node.extend(children)
    return node


def text_box(tag: str, text: str, **attributes: Any) -> Any:
    """A box that holds plain text."""
    return box(tag, nodes.Text(text), **attributes)


def visit_box(translator: Any, node: Any) -> None:
    translator.body.append(translator.starttag(node, node["tag"], "", **node["attrs"]))


def depart_box(translator: Any, node: Any) -> None:
    end = "" if node["tag"] == "span" else "\n"
    translator.body.append(f"</{node['tag']}>{end}")


class ScrollingTables(SphinxPostTransform):
    """Put each table into a box of its own, so that a wide one scrolls there and not the page."""

    default_priority = 300
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for table in list(self.document.findall(nodes.table)):
            wrapper = box("div", classes=["scroll-x"])
            table.replace_self(wrapper)
            wrapper.append(table)


def setup(app: Sphinx) -> None:
    for kind in (Box, TextBox):
        app.add_node(kind, html=(visit_box, depart_box))
    app.add_post_transform(ScrollingTables)
