"""The build tools: what is executed again, what a failing cell does, where a browser comes from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "book" / "tools"), str(ROOT / "book" / "extension")]

import build  # noqa: E402
import chromium  # noqa: E402
import colab  # noqa: E402
import execute  # noqa: E402

PAGE = """\
---
file_format: mystnb
kernelspec: {{name: python3}}
---

# {title}

```{{code-cell}}
{code}
```
"""


@pytest.fixture
def book(tmp_path):
    """A book of two notebooks, a page of prose, and a library in which `drawing` uses `numbers`."""
    files = {
        "requirements.txt": "jax==0.10.2\n",
        "book/_toc.yml": "format: jb-book\nroot: book/index\n"
        "chapters:\n- file: notebooks/plain\n- file: notebooks/drawn\n",
        "book/index.md": "# Front\n\nProse.\n",
        "notebooks/plain.md": PAGE.format(title="Plain", code="1 + 1"),
        # The import comes after an early end, so that the kernel needs no such package.
        "notebooks/drawn.md": PAGE.format(
            title="Drawn", code="%precision 3\nif False:\n    import drawing\n2 + 2"
        ),
        "lib/drawing/__init__.py": "from figures.numbers import one\n",
        "lib/drawing/static/draw.js": "draw();\n",
        "lib/figures/numbers.py": "one = 1\n",
        "lib/unused/__init__.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def change(path, old="\n", new="\n\n"):
    path.write_text(path.read_text().replace(old, new, 1))


def ran(book):
    notebooks, failed = execute.execute(book)
    assert not failed
    return sorted(path.stem for path in notebooks)


def test_only_what_changed_is_executed_again(book):
    assert ran(book) == ["drawn", "plain"]
    assert ran(book) == []

    change(book / "notebooks/plain.md", "# Plain", "# Plainer\n\nMore prose.")
    assert ran(book) == []

    change(book / "notebooks/plain.md", "1 + 1", "1 + 2")
    assert ran(book) == ["plain"]

    change(book / "lib/unused/__init__.py", "", "x = 1\n")
    assert ran(book) == []

    for name in ("drawing/static/draw.js", "drawing/__init__.py", "figures/numbers.py"):
        change(book / "lib" / name)
        assert ran(book) == ["drawn"], name

    change(book / "requirements.txt", "0.10.2", "0.10.3")
    assert ran(book) == ["drawn", "plain"]


def test_a_failing_cell_prints_its_traceback_and_fails_again(book, capsys):
    change(book / "notebooks/plain.md", "1 + 1", "raise ArithmeticError('too small')")
    for _ in range(2):
        _, failed = execute.execute(book)
        assert [path.stem for path in failed] == ["plain"]
        said = capsys.readouterr().out
        assert "ArithmeticError" in said and "too small" in said


def test_imports_of_both_forms_count_and_magics_do_not_hinder():
    source = "%load_ext autoreload\nimport a.b as c, d\n!ls\ndef f():\n    from e.g import h\n"
    assert execute.imported(source) == {"a", "d", "e"}


def test_every_notebook_of_the_contents_is_found():
    names = [path.relative_to(ROOT).as_posix() for path in execute.notebooks()]
    assert "notebooks/momentum.md" in names
    assert "book/style_guide.md" not in names


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The builder, pointed at a small site; its notebooks and Jupyter Book are pretended."""
    state = SimpleNamespace(root=tmp_path, status=0, executed=[], doctree_was_there=None)
    doctree = tmp_path / "_build/.doctrees/notebooks/a.doctree"

    def jupyter_book(command, cwd):
        assert {"-W", "-n", "--keep-going"} <= set(command)
        state.doctree_was_there = doctree.exists()
        doctree.parent.mkdir(parents=True, exist_ok=True)
        doctree.touch()
        return subprocess.CompletedProcess(command, state.status)

    (tmp_path / "book").mkdir()
    for name in ("_config.yml", "requirements.txt", "package-lock.json", "book/book.css"):
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build, "STATE", tmp_path / "_build/site.sha256")
    monkeypatch.setattr(build, "execute", lambda: (state.executed, []))
    monkeypatch.setattr(build.subprocess, "run", jupyter_book)
    return state


def rewritten(site):
    """Build; tell whether the whole site was written."""
    build.build()
    return not site.doctree_was_there


def test_what_shapes_every_page_writes_every_page(site, monkeypatch):
    assert rewritten(site)
    assert not rewritten(site)

    (site.root / "book/prose.md").write_text("words")
    assert not rewritten(site)

    for name in ("book/book.css", "_config.yml"):
        (site.root / name).write_text("y")
        assert rewritten(site), name

    monkeypatch.setenv("METAGRAD_REPOSITORY", "https://github.com/someone/book")
    assert rewritten(site)


def test_a_failed_build_is_repeated_in_full(site):
    build.build()
    site.status = 1
    assert build.build() == 1
    site.status = 0
    assert rewritten(site)  # or the warnings of unchanged pages would be forgotten
    assert not rewritten(site)


def test_a_page_is_read_again_when_its_notebook_was_executed(site):
    build.build()
    build.build()
    assert site.doctree_was_there
    site.executed = [site.root / "notebooks/a.md"]
    build.build()
    assert not site.doctree_was_there


def test_the_browser_that_is_named_is_taken_and_must_run(monkeypatch):
    good = chromium.find()
    monkeypatch.setenv("CHROMIUM", good)
    assert chromium.find() == good
    assert chromium.runs(good)
    assert not chromium.runs("/bin/true")
    assert not chromium.runs("/no/such/browser")


def test_without_a_browser_one_line_says_what_to_install(tmp_path):
    """On a machine with nothing on its path: no browser, no apt, no npm."""
    script = ROOT / "book/tools/chromium.py"
    environment = os.environ | {"PATH": str(tmp_path), "CHROMIUM": ""}
    code = (
        "import runpy, sys; from pathlib import Path; "
        f"sys.prefix = {str(tmp_path)!r}; sys.argv = ['chromium.py']; "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    if chromium.MAC.exists():
        pytest.skip("this machine has Chrome outside of the path")
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "install Chromium" in done.stderr


def test_a_wrong_python_is_refused_in_one_line(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "pyproject.toml", "package.json", "package-lock.json"):
        (tmp_path / name).touch()
    command = ["make", "--no-print-directory", "setup", "PYTHON=/no/such/python"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1 and "3.11, 3.12 or 3.13" in said[0]
    assert not (tmp_path / ".venv").exists()


def test_make_alone_lists_every_target():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("book", "serve", "lab", "test", "experiments", "benchmarks", "lock", "clean"):
        assert f"make {target} " in done.stdout


def test_colab_notebooks_lie_on_their_own_branch(tmp_path, monkeypatch):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    for name in ("NAME", "EMAIL"):
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_{name}", "a@b.c")
    git("init", "--quiet")
    for name in ("notebooks/momentum.md", "book/chapters.yml", "book/settings.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "book/_toc.yml").write_text("format: jb-book\nroot: notebooks/momentum\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "text")
    head, status = git("rev-parse", "HEAD"), git("status", "--porcelain")

    monkeypatch.setenv("METAGRAD_REPOSITORY", "https://github.com/someone/book")
    assert "now holds 1 notebooks" in colab.main(tmp_path)
    assert "already held 1 notebooks" in colab.main(tmp_path)

    assert git("ls-tree", "-r", "--name-only", "colab").split() == ["notebooks/momentum.ipynb"]
    notebook = json.loads(git("show", "colab:notebooks/momentum.ipynb"))
    first = "".join(notebook["cells"][0]["source"])
    assert "git+https://github.com/someone/book@main" in first
    assert (git("rev-parse", "HEAD"), git("status", "--porcelain")) == (head, status)


@pytest.mark.parametrize("address", ["", "https://example.org/someone/book"])
def test_colab_without_a_github_address_is_refused(monkeypatch, address):
    monkeypatch.setenv("METAGRAD_REPOSITORY", address)
    with pytest.raises(ConfigError, match=r"must be https://github\.com/OWNER/NAME, got"):
        colab.main(ROOT)
