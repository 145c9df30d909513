"""The theme (book/templates), and the front door of the site."""

from pathlib import Path

from sphinx.application import Sphinx

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


def setup(app: Sphinx) -> None:
    app.add_html_theme("metabook", str(Path(__file__).parents[2] / "templates"))
    # Jupyter Book sets this option even where its extension for comments is not loaded.
    app.add_config_value("comments_config", {}, "")
    app.connect("build-finished", write_front, priority=400)
