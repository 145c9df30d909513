"""book/chapters.yml, the head of a chapter, and the list of all chapters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ConfigError
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from metabook.boxes import box, text_box


@dataclass(frozen=True)
class Chapter:
    """One entry of book/chapters.yml; the comment at the top of that file explains the fields."""

    number: int
    slug: str
    title: str
    about: str
    minutes: int
    needs: list[Any]
    leads_to: list[int]

    @property
    def docname(self) -> str:
        """Sphinx's name of the chapter's notebook."""
        return f"notebooks/{self.slug}"


def load(path: Path) -> list[Chapter]:
    """The chapters of `path`, in order.

    Raises:
        ConfigError: if an entry has a missing or unknown field, or names an unknown chapter.
    """
    chapters = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        try:
            chapters.append(Chapter(**entry))
        except TypeError as error:
            raise ConfigError(f"{path}: chapter {entry!r}: {error}") from error
    numbers = {chapter.number for chapter in chapters}
    if len(numbers) != len(chapters):
        raise ConfigError(f"{path}: two chapters have the same number")
    for chapter in chapters:
        named = {*chapter.leads_to, *(need for need in chapter.needs if isinstance(need, int))}
        if not named <= numbers:
            raise ConfigError(
                f"{path}: chapter {chapter.number} names chapters {sorted(named - numbers)}, "
                "which do not exist"
            )
    return chapters


def path_of(app: Sphinx) -> Path:
    """Where this book keeps its chapters.yml."""
    return Path(app.srcdir) / app.config.metabook_chapters


def chapters_of(app: Sphinx) -> dict[str, Chapter]:
    """Docname -> chapter."""
    if not hasattr(app, "metabook_loaded"):
        app.metabook_loaded = {c.docname: c for c in load(path_of(app))}  # type: ignore[attr-defined]
    return app.metabook_loaded  # type: ignore[attr-defined]


def chapter_link(app: Sphinx, chapter: Chapter, docname: str) -> nodes.Node:
    """The chapter's title: a link where the chapter is written, else plain text that says so."""
    label = f"{chapter.number} {chapter.title}"
    if chapter.docname not in app.env.found_docs:
        node = text_box("span", label)
        node += nodes.Text(" ")
        node += text_box("span", "(being written)", classes=["being-written"])
        return node
    return addnodes.pending_xref(
        "",
        nodes.inline(label, label),
        refdomain="std",
        reftype="doc",
        reftarget="/" + chapter.docname,
        refdoc=docname,
        refexplicit=True,
    )


class ChapterHead(SphinxDirective):
    """`:::{chapterhead}`: goals (the body), minutes, what to know first, where it leads."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        app, docname = self.env.app, self.env.docname
        chapter = chapters_of(app).get(docname)
        if chapter is None:
            raise self.error(f"{docname} is not a chapter of {path_of(app).name}")
        by_number = {c.number: c for c in chapters_of(app).values()}
        head = box("div", classes=["chapter-head"], role="chapterhead")

        goals = box("div", classes=["chapter-goals"])
        goals += nodes.paragraph("", "", nodes.strong("", "Goals"))
        self.state.nested_parse(self.content, self.content_offset, goals)
        head += goals

        def row(name: str, *items: list[nodes.Node]) -> None:
            head.append(text_box("p", name, classes=["chapter-fact-name"]))
            line = box("p", classes=["chapter-fact"])
            for position, item in enumerate(items):
                if position:
                    line += nodes.Text("; ")
                line.extend(item)
            head.append(line)

        row("Time", [nodes.Text(f"about {chapter.minutes} minutes, exercises not counted")])
        needs = [
            [chapter_link(app, by_number[need], docname)]
            if isinstance(need, int)
            else self.parse_inline(need)[0]
            for need in chapter.needs
        ]
        row("Know first", *needs)
        if chapter.leads_to:
            row("Leads to", *[[chapter_link(app, by_number[n], docname)] for n in chapter.leads_to])
        return [head]


class ContentsPlan(SphinxDirective):
    """`:::{contents-plan}`: all chapters, with those that are not written yet marked."""

    def run(self) -> list[nodes.Node]:
        app, docname = self.env.app, self.env.docname
        listing = box("ol", classes=["contents-plan"])
        for chapter in chapters_of(app).values():
            written = chapter.docname in app.env.found_docs
            item = box(
                "li", classes=["written" if written else "planned"], attrs={"value": chapter.number}
            )
            title = box("p", classes=["plan-title"])
            title += text_box("span", str(chapter.number), classes=["plan-number"])
            if written:
                link = chapter_link(app, chapter, docname)
                link[:] = [nodes.inline(chapter.title, chapter.title)]
                title += link
                title += text_box("span", f"{chapter.minutes} minutes", classes=["plan-note"])
            else:
                title += text_box("span", chapter.title)
                title += text_box("span", "being written", classes=["plan-note"])
            item += title
            item += box("p", *self.parse_inline(chapter.about)[0], classes=["plan-about"])
            listing += item
        return [listing]


class NumberChapterTitle(SphinxTransform):
    """Put the chapter's number before its title, so that every list of contents shows it."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        chapter = chapters_of(self.app).get(self.env.docname)
        title = next(iter(self.document.findall(nodes.title)), None)
        if chapter is None or title is None:
            return
        number = nodes.inline("", str(chapter.number), classes=["chapter-number"])
        title.insert(0, [number, nodes.Text(" ")])


def setup(app: Sphinx) -> None:
    app.add_config_value("metabook_chapters", "book/chapters.yml", "env")
    app.add_directive("chapterhead", ChapterHead)
    app.add_directive("contents-plan", ContentsPlan)
    app.add_transform(NumberChapterTitle)
