"""The theme (book/templates), the front door of the site, and when pages are made again."""

import hashlib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
THEME = HERE.parents[1] / "templates"

FRONT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={target}">
</head>
<body><main><h1>{title}</h1><p><a href="{target}">Open the book</a></p></main></body>
</html>
"""


def write_front(app: Sphinx, exception: Exception | None) -> None:
    """Let index.html at the site's root lead to the front page."""
    if exception or app.builder.format != "html" or app.config.root_doc == "index":
        return
    target = f"{app.config.root_doc}.html"
    page = FRONT.format(title=app.config.html_title, target=target)
    (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def fingerprint(*folders: Path) -> str:
    """A hash of all files below `folders`."""
    files = sorted(f for folder in folders for f in folder.rglob("*") if f.is_file())
    texts = [f.read_bytes() for f in files if f.suffix != ".pyc"]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def note_code(app: Sphinx, config: Any) -> None:
    """Let a change of this extension read, and one of the theme write, every page again."""
    config.metabook_code = fingerprint(HERE)
    config.metabook_theme = fingerprint(THEME)


def setup(app: Sphinx) -> None:
    app.add_html_theme("metabook", str(THEME))
    app.add_config_value("metabook_code", "", "env")
    app.add_config_value("metabook_theme", "", "html")
    app.connect("config-inited", note_code)
    # Jupyter Book sets this option even where its extension for comments is not loaded.
    app.add_config_value("comments_config", {}, "")
    app.connect("build-finished", write_front, priority=400)
