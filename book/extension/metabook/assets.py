"""The files that pages load: the widgets' scripts, the chart library, the fonts of the formulas."""

import base64
import importlib
import re
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

WIDGET = re.compile(r'data-page-widget="([a-z][a-z0-9-]*)"')
PLOTLY = "plotly-cartesian.min.js"
# Every page with a formula needs these two. A font that arrives after the text widens the formulas,
# and lines break anew under the reader's eyes; a browser shows nothing before the style sheet.
FONTS_INSIDE = ("KaTeX_Main-Regular", "KaTeX_Math-Italic")


def write_if_changed(path: Path, text: str) -> None:
    """Write `text`, unless the file holds it already (keeps its time stamp)."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def woff2_only(css: str) -> str:
    """KaTeX's style sheet, with only the one font format that every browser of today reads."""
    return re.sub(r',url\([^)]*\) format\("(?:woff|truetype)"\)', "", css)


def write_katex(package: Path, static: Path) -> None:
    """Copy KaTeX's style sheet and fonts from its npm package, `FONTS_INSIDE` within the sheet."""
    css = woff2_only((package / "dist" / "katex.min.css").read_text(encoding="utf-8"))
    fonts = static / "fonts"
    fonts.mkdir(parents=True, exist_ok=True)
    for font in (package / "dist" / "fonts").glob("*.woff2"):
        if font.stem in FONTS_INSIDE:
            data = base64.b64encode(font.read_bytes()).decode("ascii")
            css = css.replace(f"fonts/{font.name}", f"data:font/woff2;base64,{data}")
        else:
            shutil.copyfile(font, fonts / font.name)
    write_if_changed(static / "katex.min.css", css)


def write_widgets(packages: list[str], static: Path) -> None:
    """Write what pagewidget needs for every widget that `packages` define."""
    for package in packages:
        importlib.import_module(package)
    from pagewidget import assets

    for name, text in assets().items():
        write_if_changed(static / name, text)


def write_static(app: Sphinx) -> None:
    """Put everything into the site's `_static` before pages are written."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    modules = Path(app.srcdir) / app.config.metabook_node_modules
    if not (modules / "katex").is_dir():
        raise ExtensionError(f"no KaTeX in {modules}; `make book` installs the npm packages")
    write_katex(modules / "katex", static)
    if app.config.metabook_widget_packages:
        write_widgets(app.config.metabook_widget_packages, static)
        bundle = modules / "plotly.js-cartesian-dist-min"
        shutil.copyfile(bundle / "plotly-cartesian.min.js", static / PLOTLY)


def load_only_what_is_used(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Add the widgets' script and style sheets to pages with widgets, KaTeX's to formulas."""
    body = context.get("body", "")
    context["has_formulas"] = 'class="katex' in body
    if context["has_formulas"]:
        app.add_css_file("katex.min.css")
    widgets = sorted(set(WIDGET.findall(body)))
    if widgets:
        for name in ("pagewidget", *widgets):
            app.add_css_file(f"{name}.css")
        app.add_js_file("pagewidget.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    app.add_config_value("metabook_widget_packages", ["livejax", "selfcheck"], "html")
    app.connect("builder-inited", write_static)
    app.connect("html-page-context", load_only_what_is_used)
