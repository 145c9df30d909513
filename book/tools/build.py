"""Build the site: execute the notebooks that changed, then let Jupyter Book write the pages.

Sphinx re-reads a page when its text changes. Two more reasons are added here: its notebook was
executed again, or something that shapes every page has changed (configuration, extension,
templates, assets, locks), in which case the whole site is written anew. So is it after a build
that failed, because Sphinx reports the warnings of a page only when it reads it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time

from execute import ROOT, execute

BUILD = ROOT / "_build"
STATE = BUILD / "site.sha256"
SHAPE = ("_config.yml", "requirements.txt", "package-lock.json", "book")
OWN_PAGE = {"outcomes.json"}  # shapes one page, which is written in any case


def site_hash() -> str:
    """Hash everything that shapes all pages: nothing under ``notebooks``, no page of prose."""
    digest = hashlib.sha256(os.environ.get("METAGRAD_REPOSITORY", "").encode())
    for name in SHAPE:
        top = ROOT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            parts = path.relative_to(ROOT).parts
            if path.suffix in {".md", ".pyc"} or "tests" in parts or path.name in OWN_PAGE:
                continue
            if not path.is_file():
                continue
            digest.update("/".join(parts).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def build() -> int:
    """Build the site in ``_build/html``; return the exit status."""
    start = time.perf_counter()
    print("==> Executing the notebooks whose code, or whose library, changed", flush=True)
    ran, failed = execute()
    print(f"    {len(ran)} executed in {time.perf_counter() - start:.0f} s", flush=True)
    if failed:
        print("Failed: " + ", ".join(str(path.relative_to(ROOT)) for path in failed))
        return 1

    current = site_hash()
    if not STATE.exists() or STATE.read_text() != current:
        print("==> Writing every page", flush=True)
        shutil.rmtree(BUILD / "html", ignore_errors=True)
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
    else:
        print("==> Writing the pages that changed", flush=True)
        for path in ran:
            page = path.relative_to(ROOT).with_suffix(".doctree")
            (BUILD / ".doctrees" / page).unlink(missing_ok=True)
    STATE.unlink(missing_ok=True)
    command = ["jupyter-book", "build", ".", "--toc", "book/_toc.yml", "-W", "-n", "--keep-going"]
    status = subprocess.run(command, cwd=ROOT).returncode
    if status == 0:
        STATE.write_text(current)
        print(f"==> Built in {time.perf_counter() - start:.0f} s. Open {BUILD}/html/index.html")
    return status


if __name__ == "__main__":
    sys.exit(build())
