"""A page of its own for a few widgets: for tests, benchmarks, and to look at one figure."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from pagewidget.assets import assets
from pagewidget.widget import PageWidget

_PAGE = """\
<!doctype html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html {{ font-family: system-ui, sans-serif; line-height: 1.6; color: #23272e; background: #fff; }}
html[data-theme="dark"] {{ color: #e8eaee; background: #14181e; }}
body {{ max-width: 46rem; margin: 0 auto; padding: 0 1rem; }}
</style>
{styles}
<script defer src="pagewidget.js"></script>
</head>
<body><main><h1>{title}</h1>
{body}
</main></body>
</html>
"""


def write_page(
    folder: Path, widgets: Sequence[PageWidget], title: str, files: Mapping[str, str] | None = None
) -> Path:
    """Write `folder`/index.html with `widgets` and the files it needs; return its path.

    `files` are further files that the widgets load, as name -> text. A widget is always served with
    the module of its class: the page works from `file://` and makes no other request.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = assets()
    for name, text in {**own, **(files or {})}.items():
        (folder / name).write_text(text, encoding="utf-8")
    styles = "\n".join(
        f'<link rel="stylesheet" href="{name}">' for name in own if name.endswith(".css")
    )
    body = "\n".join(widget.page_html() for widget in widgets)
    page = folder / "index.html"
    page.write_text(_PAGE.format(title=escape(title), styles=styles, body=body), encoding="utf-8")
    return page
