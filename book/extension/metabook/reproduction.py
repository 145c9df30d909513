"""The page that compares three papers with this book: its tables of claims, and their counts."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from metabook.boxes import box, text_box
from metabook.chapters import chapters_of
from metabook.markup import VERDICTS, find_tests
from metabook.statements import NumberedDirective, boxes_of, choice_of

LOGGER = logging.getLogger(__name__)

REFERENCE = re.compile(r"\]\(#([a-z0-9-]+)\)")
ARIA = {
    "table": "table",
    "thead": "rowgroup",
    "tbody": "rowgroup",
    "tr": "row",
    "th": "columnheader",
    "td": "cell",
}
PROVED = ("proved", "own")
MEASURED = ("reproduced", "part", "differs", "beyond")


class Claims(SphinxDirective):
    """`::::{claims} Short name`: a table of `:::{claim}`s, of one paper."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        body = part("tbody")
        self.state.nested_parse(self.content, self.content_offset, body)
        heads = [part("th", text_box("span", name)) for name in ("In the paper", "Here")]
        table = part(
            "table",
            part("thead", part("tr", *heads)),
            body,
            role="claims",
            classes=["claims"],
            short=self.arguments[0],
        )
        table["attrs"]["aria-label"] = f"Claims: {self.arguments[0]}"
        return [table]


class Claim(NumberedDirective):
    """`:::{claim} Title` with `:verdict:` and `:paper:`; what we did is the body.

    `:experiments:` names experiments, `:differs:` says where our setting is another one.
    """

    option_spec: ClassVar = {
        "verdict": choice_of(*VERDICTS),
        "paper": directives.unchanged_required,
        "experiments": directives.unchanged_required,
        "differs": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        self.required("verdict", "paper")
        verdict = self.options["verdict"]
        experiments = self.options.get("experiments", "").replace(",", " ").split()
        tests = self.tests()
        row = part(
            "tr",
            role="claim",
            ids=[nodes.make_id(f"claim {self.arguments[0]}")],
            verdict=verdict,
        )
        self.set_source_info(row)
        self.check(row, verdict, experiments, tests)

        paper = part("td")
        title = self.parse_inline(self.arguments[0])[0]
        paper += box("p", *title, classes=["claim-title"])
        paper += box("p", *self.parse_inline(self.options["paper"])[0])

        here = part("td")
        here += box("p", verdict_label(verdict, link=True))
        self.state.nested_parse(self.content, self.content_offset, here)
        if "differs" in self.options:
            words = self.parse_inline(self.options["differs"])[0]
            here += box("p", nodes.strong("", "Differs:"), nodes.Text(" "), *words)
        for name in experiments:
            here += box("p", command(f"python -m experiments run {name}"), classes=["command"])
        if tests:
            count = "1 test" if len(tests) == 1 else f"{len(tests)} tests"
            listed = [box("li", command(f"python -m pytest {test}")) for test in tests]
            here += box(
                "details",
                text_box("summary", f"Checked by {count}"),
                box("ul", *listed, classes=["command"]),
                classes=["fold"],
            )
        row += [paper, here]
        return [row]

    def tests(self) -> list[str]:
        """The tests of the statements that the body names, each once, in that order."""
        known: dict[str, str] = {}
        for docname in chapters_of(self.env.app):
            path = Path(self.env.app.srcdir) / f"{docname}.md"
            if path.exists():
                self.env.note_dependency(str(path))
                known |= tests_in(path, path.stat().st_mtime_ns)
        named = REFERENCE.findall("\n".join(self.content))
        return list(dict.fromkeys(known[name] for name in named if name in known))

    def check(
        self, row: nodes.Node, verdict: str, experiments: list[str], tests: list[str]
    ) -> None:
        """Warn, which fails the build, about a row that rests on nothing."""
        folder = Path(self.env.app.srcdir) / "lib" / "experiments"
        for name in experiments:
            if not (folder / f"{name}.py").is_file():
                self.warn(row, "there is no experiment %r", name)
        if verdict in PROVED and not tests:
            self.warn(row, "a claim that is proved names a statement of a chapter, with a test")
        if verdict in MEASURED and not experiments:
            self.warn(row, "a claim that is measured names an experiment")
        if not self.content:
            self.warn(row, "a claim says what we did, or why nothing")

    def warn(self, row: nodes.Node, message: str, *details: Any) -> None:
        LOGGER.warning(message, *details, location=row, type="metabook")


@cache
def tests_in(path: Path, changed_at: int) -> dict[str, str]:
    """The tests of a notebook's statements; `changed_at` refreshes the cache."""
    return find_tests(path.read_text(encoding="utf-8"))


def command(words: str) -> nodes.Node:
    """A line for the shell."""
    return nodes.literal(words, words)


class Verdicts(SphinxDirective):
    """`:::{verdicts}`: what each verdict means, and how many claims of this page have it."""

    def run(self) -> list[nodes.Node]:
        return [box("div", role="verdicts")]


class CountVerdicts(SphinxTransform):
    """Fill `:::{verdicts}`, after the whole page has been read."""

    default_priority = 425

    def apply(self, **kwargs: Any) -> None:
        counts = {
            table["short"]: Counter(row["verdict"] for row in boxes_of(table, "claim"))
            for table in boxes_of(self.document, "claims")
        }
        for place in boxes_of(self.document, "verdicts"):
            place += verdict_table(counts)


def verdict_table(counts: dict[str, Counter[str]]) -> nodes.Node:
    """The verdicts with their meaning, and for each table how many claims have them."""

    def row(first: nodes.Node, found: list[int], **more: Any) -> nodes.Node:
        cells = [part("td", text_box("span", str(n))) for n in (*found, sum(found))]
        return part("tr", part("th", first, aria="rowheader"), *cells, **more)

    rows = []
    for name, verdict in VERDICTS.items():
        meaning = box("p", verdict_label(name), nodes.Text(f" {verdict.meaning}"))
        found = [count[name] for count in counts.values()]
        rows.append(row(meaning, found, ids=[f"verdict-{name}"]))
    rows.append(row(text_box("p", "All rows"), [count.total() for count in counts.values()]))
    heads = [part("th", text_box("span", name)) for name in ("Verdict", *counts, "All")]
    head = part("thead", part("tr", *heads))
    return part("table", head, part("tbody", *rows), classes=["verdicts"])


def part(tag: str, *content: nodes.Node, aria: str = "", **more: Any) -> Any:
    """A table or a part of one. Its ARIA role is said, since blocks on a phone lose their own."""
    return box(tag, *content, attrs={"role": aria or ARIA[tag]}, **more)


def verdict_label(name: str, link: bool = False) -> nodes.Node:
    """A verdict in a word or two; as a link it leads to its meaning."""
    words = VERDICTS[name].label
    label = nodes.reference("", words, refid=f"verdict-{name}") if link else nodes.Text(words)
    return box("span", label, classes=["badge", "verdict", f"verdict-{name}"])


def setup(app: Sphinx) -> None:
    app.add_directive("claims", Claims)
    app.add_directive("claim", Claim)
    app.add_directive("verdicts", Verdicts)
    app.add_transform(CountVerdicts)
