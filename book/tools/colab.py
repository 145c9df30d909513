"""Write the branch of `.ipynb` files that Colab opens; push it to make the Colab links work.

Colab reads no text notebooks. The branch named by `colab_branch` in `book/settings.yml` holds
each notebook of the book as `.ipynb`, under the same path, with a cell in front that installs
the library. Neither the work tree nor the current branch is touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from sphinx.errors import ConfigError

from execute import ROOT, notebooks
from metabook.address import Address, read_address
from metabook.notebooks import convert_file

SETUP = """\
# In Colab this installs the library of the book; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "git+{repository}@{branch}"
    from google.colab import output

    output.enable_custom_widget_manager()
"""


def colab_notebook(root: Path, page: Path, address: Address) -> str:
    """Return the text of the `.ipynb` for a page, its set-up cell first."""
    path = page.relative_to(root)
    executed = root / "_build/jupyter_execute" / path.with_suffix(".ipynb")
    notebook = convert_file(root, str(path), executed)
    setup = SETUP.format(repository=address.repository, branch=address.branch)
    cell = nbformat.v4.new_code_cell(setup, id="set-up")
    notebook.cells.insert(0, cell)
    return nbformat.writes(notebook) + "\n"


def write_branch(root: Path, branch: str, files: dict[str, str]) -> bool:
    """Commit files, and nothing else, on a branch; return False if it held just these already."""

    def git(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, env=environment, input=text, text=True,
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GIT_INDEX_FILE": f"{folder}/index"}
        for path, text in files.items():
            blob = git("hash-object", "-w", "--stdin", text=text)
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        tree = git("write-tree")
        reference = f"refs/heads/{branch}"
        parent = git("for-each-ref", "--format=%(objectname)", reference)
        if parent and git("rev-parse", f"{parent}^{{tree}}") == tree:
            return False
        message = "Write the notebooks for Colab"
        commit = git("commit-tree", tree, *(["-p", parent] if parent else []), text=message)
        git("update-ref", reference, commit)
    return True


def main(root: Path = ROOT) -> str:
    """Write the branch; return what was done, or raise `ConfigError` without a GitHub address."""
    address = read_address(root / "book/settings.yml", os.environ)
    if address.host != "github.com":
        raise ConfigError(
            "Colab opens notebooks from GitHub only: repository in book/settings.yml, or "
            "METAGRAD_REPOSITORY, must be https://github.com/OWNER/NAME, "
            f"got {address.repository!r}"
        )
    files = {
        str(page.relative_to(root).with_suffix(".ipynb")): colab_notebook(root, page, address)
        for page in notebooks(root)
    }
    changed = write_branch(root, address.colab_branch, files)
    state = "now holds" if changed else "already held"
    return f"Branch {address.colab_branch} {state} {len(files)} notebooks; push it to publish."


if __name__ == "__main__":
    try:
        print(main())
    except ConfigError as error:
        sys.exit(str(error))
