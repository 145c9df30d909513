"""Words of one page as they can stand on another: titles, and the sentence around a number."""

import re
from collections.abc import Iterable

from docutils import nodes
from sphinx import addnodes

ROOM = 70  # characters that are shown on either side, where the sentence is longer
STOP_BEFORE = re.compile(r".*[.?!]\s+", re.DOTALL)
STOP_AFTER = re.compile(r".*?[.?!](?=\s|$)", re.DOTALL)


def copied(node: nodes.Node) -> nodes.Node:
    """A copy without ids; of a reference without words only its target, for others to name."""
    if isinstance(node, nodes.reference) and not node.astext():
        return nodes.inline("", "", target=node.get("refuri", "").lstrip("#"))  # [](#target)
    if isinstance(node, addnodes.pending_xref) and not node["refexplicit"]:
        return nodes.inline("", "", target=node["reftarget"])
    if isinstance(node, nodes.math | nodes.literal):
        return type(node)("", node.astext())
    if isinstance(node, nodes.emphasis | nodes.strong):
        return type(node)("", "", *(copied(child) for child in node))
    return nodes.Text(node.astext())


def around(number: nodes.Node) -> list[nodes.Node]:
    """Where a number stands, in words: its row and column, or its sentence."""
    cell = number.parent
    while cell is not None and not isinstance(cell, nodes.entry):
        cell = cell.parent
    return in_sentence(number) if cell is None else in_table(cell)


def in_table(cell: nodes.entry) -> list[nodes.Node]:
    """The first cell of the row, and the head of the column."""
    row = cell.parent
    place = row.index(cell)
    words: list[nodes.Node] = []
    if place > 0:
        words += [nodes.Text("row "), *line_of(row[0]), nodes.Text(", ")]
    head = next(iter(row.parent.parent.findall(nodes.thead)))
    return [*words, nodes.Text("column "), *line_of(head[0][place])]


def line_of(cell: nodes.Element) -> list[nodes.Node]:
    """The inline content of a table cell."""
    return [copied(child) for paragraph in cell for child in paragraph.children]


def in_sentence(number: nodes.Node) -> list[nodes.Node]:
    """The sentence, or so much of it as there is room for; the number is strong."""
    child, block = number, number.parent
    while isinstance(block, nodes.Inline):
        child, block = block, block.parent
    place = block.index(child)
    before = cut(reversed(block[:place]), STOP_BEFORE, before=True)
    after = cut(block[place + 1 :], STOP_AFTER, before=False)
    return [*reversed(before), nodes.strong("", child.astext()), *after]


def cut(children: Iterable[nodes.Node], stop: re.Pattern[str], *, before: bool) -> list[nodes.Node]:
    """Copies of `children`, from the number outward, up to the end of the sentence or of the room.

    A formula or a reference is kept whole or left out.
    """
    kept: list[nodes.Node] = []
    room = ROOM
    for child in children:
        text = child.astext()
        if isinstance(child, nodes.Text):
            found = stop.match(text)
            if found:
                text = text[found.end() :] if before else found[0]
            if len(text) > room:
                shown = text[-room:].partition(" ")[2] if before else text[:room].rpartition(" ")[0]
                kept.append(nodes.Text(f"… {shown}" if before else f"{shown} …"))
                return kept
            kept.append(nodes.Text(text))
            if found:
                return kept
        elif len(text) > room:
            kept.append(nodes.Text("… " if before else " …"))
            return kept
        else:
            kept.append(copied(child))
        room -= len(text)
    return kept
