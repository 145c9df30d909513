"""Every link of the built site leads somewhere, and none of its resources lies elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from browser import HTML, ROOT
from htmlpages import broken, is_elsewhere, read_pages
from jupyter_book.config import get_final_config
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

sys.path[:0] = [str(ROOT / "book" / "tools"), str(ROOT / "book" / "extension")]

from sphinx.errors import ConfigError  # noqa: E402

import colab  # noqa: E402
from metabook.address import Address, read_address  # noqa: E402
from metabook.assets import FONTS_INSIDE  # noqa: E402

MADE_UP = "https://github.com/some-owner/some-book"
LAUNCHERS = ("mybinder.org", "colab.research.google.com", "/hub/user-redirect/", "/edit/", "/blob/")


@pytest.fixture(scope="module")
def pages():
    assert HTML.is_dir(), "the book is not built; run `make book`"
    return read_pages(HTML)


def test_links_and_anchors_resolve(pages):
    assert list(broken(pages)) == []


def test_nothing_is_loaded_from_elsewhere(pages):
    foreign = [(name, a) for name, page in pages.items() for a in page.loads if is_elsewhere(a)]
    assert foreign == []
    for css in (HTML / "_static").glob("*.css"):
        text = css.read_text(encoding="utf-8")
        assert "@import" not in text, css.name
        assert "url(http" not in text.replace('"', "").replace("'", ""), css.name


def test_fonts_named_by_style_sheets_exist():
    css = (HTML / "_static" / "katex.min.css").read_text(encoding="utf-8")
    addresses = [piece.partition(")")[0].strip("\"'") for piece in css.split("url(")[1:]]
    names = [address for address in addresses if not address.startswith("data:font/woff2;")]
    assert len(addresses) == len(names) + len(FONTS_INSIDE)
    assert all((HTML / "_static" / name).is_file() for name in names)
    assert {Path(name).suffix for name in names} == {".woff2"}


@pytest.mark.parametrize(
    ("link", "complaint"),
    [
        ("gone.html", "leads to no file"),
        ("#gone", "leads to no such place"),
        ("other.html#gone", "leads to no such place"),
    ],
)
def test_the_checker_finds_a_broken_link(link, complaint, tmp_path):
    (tmp_path / "other.html").write_text('<html lang="en"><title>o</title><p id="here">')
    page = tmp_path / "page.html"
    page.write_text(f'<a href="other.html#here">good</a><a href="{link}">bad</a>')
    assert list(broken(read_pages(tmp_path))) == [f"page.html: {link} {complaint}"]


def test_without_an_address_no_page_offers_to_launch_or_edit(pages):
    if read_address(ROOT / "book" / "settings.yml", os.environ).repository:
        pytest.skip("this checkout has an address")
    offers = [
        (name, link)
        for name, page in pages.items()
        for link in page.links
        if any(launcher in link for launcher in LAUNCHERS)
    ]
    assert offers == []


@pytest.fixture(scope="module")
def addressed(tmp_path_factory):
    """The book built as if it had an address on GitHub, without executing anything again."""
    folder = tmp_path_factory.mktemp("addressed")
    settings = folder / "settings.yml"
    settings.write_text(f"repository: {MADE_UP}\njupyterhub: https://hub.example.edu\n")
    config, _ = get_final_config(
        user_yaml=ROOT / "_config.yml",
        cli_config={
            "latex_individualpages": False,
            "external_toc_path": str(ROOT / "book" / "_toc.yml"),
            "nb_execution_cache_path": str(ROOT / "_build" / ".jupyter_cache"),
            "metabook_settings": str(settings),
        },
        sourcedir=ROOT,
    )
    with pytest.MonkeyPatch.context() as patch, docutils_namespace():
        patch.delenv("METAGRAD_REPOSITORY", raising=False)
        app = Sphinx(
            srcdir=ROOT,
            confdir=None,
            outdir=folder / "html",
            doctreedir=folder / "doctrees",
            buildername="html",
            confoverrides=config,
            status=None,
            warningiserror=True,
            keep_going=True,
        )
        app.build()
    assert app.statuscode == 0
    return read_pages(folder / "html")


@pytest.fixture(scope="module")
def colab_files(tmp_path_factory):
    """The names of the files on the branch for Colab, as the command for it writes them."""
    root = tmp_path_factory.mktemp("colab")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("tests"))
    environment = {
        "METAGRAD_REPOSITORY": MADE_UP,
        **{f"GIT_{who}_NAME": "A Tester" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "tester@example.org" for who in ("AUTHOR", "COMMITTER")},
    }
    subprocess.run(["git", "init", "--quiet", root], check=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        colab.main(root)
    command = ["git", "ls-tree", "-r", "--name-only", Address().colab_branch]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return listing.stdout.splitlines()


def opened_path(link: str) -> tuple[str, str]:
    """Which service a launch or edit link belongs to, and which file of the repository it opens."""
    parts = urlsplit(link)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.netloc == "mybinder.org":
        assert parts.path == "/v2/gh/some-owner/some-book/main"
        return "binder", query["labpath"]
    if parts.netloc == "hub.example.edu":
        assert parts.path == "/hub/user-redirect/git-pull"
        assert (query["repo"], query["branch"]) == (MADE_UP, "main")
        return "hub", query["urlpath"].removeprefix("lab/tree/some-book/")
    if parts.netloc == "colab.research.google.com":
        start = "/github/some-owner/some-book/blob/colab/"
        assert parts.path.startswith(start)
        return "colab", unquote(parts.path.removeprefix(start))
    verb, branch, path = unquote(parts.path).removeprefix("/some-owner/some-book/").split("/", 2)
    assert (parts.netloc, branch) == ("github.com", "main")
    return verb, path


def test_with_an_address_every_link_names_a_file_that_exists(addressed, colab_files):
    offered = {}
    for name, page in addressed.items():
        links = [link for link in page.links if any(launcher in link for launcher in LAUNCHERS)]
        offered[name] = [opened_path(link) for link in links]
        for service, path in offered[name]:
            there = path in colab_files if service == "colab" else (ROOT / path).is_file()
            assert there, f"{name}: {service} opens {path}, which does not exist"
    page = offered["notebooks/momentum.html"]
    source = "notebooks/momentum.md"
    assert page[:4] == [
        ("binder", source),
        ("hub", source),
        ("colab", "notebooks/momentum.ipynb"),
        ("edit", source),
    ]
    assert {service for service, _ in page[4:]} == {"blob"}, "statements link to their tests"
    assert offered["book/notation.html"] == [("edit", "book/notation.md")]


def test_other_hosts_get_the_links_that_work_there():
    gitlab = Address("https://gitlab.com/group/sub/book", branch="next")
    assert gitlab.links("notebooks/a.md") == [
        ("Run on Binder", "https://mybinder.org/v2/gl/group%2Fsub%2Fbook/next?labpath=notebooks%2Fa.md"),
        ("Edit this page", "https://gitlab.com/group/sub/book/-/edit/next/notebooks/a.md"),
    ]  # fmt: skip
    other = Address("https://git.example.org/book")
    assert other.links("notebooks/a.md") == [
        (
            "Run on Binder",
            "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Fbook/main"
            "?labpath=notebooks%2Fa.md",
        )
    ]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("repository: github.com/a/b", "repository is 'github.com/a/b'"),
        ("repository: https://github.com/a/b/", "without a slash"),
        ("jupyterhub: http://hub", "jupyterhub is 'http://hub'"),
        ("repo: https://github.com/a/b", "repo"),
    ],
)
def test_a_wrong_setting_is_refused(settings, complaint, tmp_path):
    path = tmp_path / "settings.yml"
    path.write_text(settings)
    with pytest.raises(ConfigError, match=complaint):
        read_address(path, {})


def test_the_environment_overrides_the_address(tmp_path):
    path = tmp_path / "settings.yml"
    path.write_text("repository: https://github.com/a/b\nbranch: next\n")
    address = read_address(path, {"METAGRAD_REPOSITORY": MADE_UP})
    assert (address.repository, address.branch) == (MADE_UP, "next")
