"""Execute the notebooks that changed, in parallel, into the cache that the site is built from.

jupyter-cache knows a notebook by its code cells alone. This tool also stores, with each cached
run, a hash of the library packages that the notebook imports (and of those that they import),
and drops the run when that hash has changed. Prose is in neither, so editing it runs nothing.
"""

from __future__ import annotations

import ast
import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, myst_nb_reader_plugin
from sphinx_external_toc.parsing import parse_toc_yaml

from rounding import round_each_operation

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 300  # seconds for one cell, as in _config.yml


def notebooks(root: Path = ROOT) -> list[Path]:
    """List the pages of the table of contents that have code cells."""
    pages = (root / f"{name}.md" for name in parse_toc_yaml(root / "book/_toc.yml"))
    return [page for page in pages if is_myst_markdown_notebook(page.read_text("utf8"))]


def imported(source: str) -> set[str]:
    """Return the top-level packages that Python source imports, IPython magics aside."""
    lines = ("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    names: set[str] = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def package_files(package: Path) -> Iterator[Path]:
    """Yield the files of a package, scripts and data included, bytecode aside."""
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def library_hash(notebook: nbformat.NotebookNode, root: Path = ROOT) -> str:
    """Hash the library packages behind a notebook, and the lock of everything else."""
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    waiting = {name for source in cells for name in imported(source)}
    packages: set[str] = set()
    digest = hashlib.sha256((root / "requirements.txt").read_bytes())
    while waiting:
        name = waiting.pop()
        package = root / "lib" / name
        if name in packages or not package.is_dir():
            continue
        packages.add(name)
        for path in package_files(package):
            if path.suffix == ".py":
                waiting |= imported(path.read_text("utf8"))
    for name in sorted(packages):
        for path in package_files(root / "lib" / name):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def run(path: Path) -> ExecutionResult:
    """Execute one notebook in its own folder, as Jupyter does."""
    round_each_operation()
    notebook = myst_nb_reader_plugin(str(path))
    return single_nb_execution(notebook, cwd=str(path.parent), timeout=TIMEOUT, allow_errors=False)


def execute(root: Path = ROOT) -> tuple[list[Path], list[Path]]:
    """Execute what the cache lacks; return the notebooks that were run, and those that failed."""
    cache = get_cache(root / "_build/.jupyter_cache")
    stale: dict[Path, str] = {}
    for path in notebooks(root):
        notebook = myst_nb_reader_plugin(str(path))
        current = library_hash(notebook, root)
        try:
            record = cache.match_cache_notebook(notebook)
        except KeyError:
            stale[path] = current
            continue
        if record.data.get("library") != current:
            cache.remove_cache(record.pk)
            stale[path] = current

    failed = []
    # Not forked: whoever calls this may already run JAX's threads.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=fresh) as pool:
        jobs = {pool.submit(run, path): path for path in stale}
        for job in as_completed(jobs):
            path, result = jobs[job], job.result()
            print(f"    {path.relative_to(root)}: {result.time:.1f} s", flush=True)
            if result.err is not None:
                print(result.exc_string, flush=True)
                failed.append(path)
                continue
            data = {"execution_seconds": result.time, "library": stale[path]}
            bundle = CacheBundleIn(result.nb, str(path), data=data)
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return list(stale), failed


if __name__ == "__main__":
    start = time.perf_counter()
    ran, failed = execute()
    print(f"    {len(ran)} notebooks executed in {time.perf_counter() - start:.1f} s")
    if failed:
        sys.exit("Failed: " + ", ".join(str(path.relative_to(ROOT)) for path in failed))
