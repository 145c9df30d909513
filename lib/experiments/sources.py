"""Which code stands behind a module, and a fingerprint of it.

The fingerprint covers the module and every module of `lib/` that it imports, directly or not.
Comments, docstrings and layout do not count: rewording a sentence makes no result stale.
`from package import name` is followed to the module that `name` comes from, and the rest of
`package/__init__.py`, which only hands names on, is left out.
"""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

LIB = Path(__file__).resolve().parents[1]


def module_path(name: str) -> Path | None:
    """Return the file of the module `a.b`, or None if it is not in `lib/`."""
    stem = LIB.joinpath(*name.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name taken from it or None) for each import, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join(base + (node.module.split(".") if node.module else []))
            yield from ((module, alias.name) for alias in node.names)


def origin(module: str, name: str | None) -> str:
    """Follow a name through `__init__` files to the module that defines it."""
    path = module_path(module)
    if name is None or path is None:
        return module
    if module_path(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    if path.name == "__init__.py":
        for source, taken in imports(ast.parse(path.read_text("utf8")), module):
            if taken == name:
                return origin(source, name)
    return module


def modules(name: str) -> dict[str, Path]:
    """Return the module and all modules of `lib/` behind it: name -> file.

    Raises:
        ValueError: if there is no such module in `lib/`.
    """
    if module_path(name) is None:
        raise ValueError(f"module must name a file in lib/, got {name!r}")
    found: dict[str, Path] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        path = module_path(current)
        if current in found or path is None:
            continue
        found[current] = path
        package = current if path.name == "__init__.py" else current.rpartition(".")[0]
        for module, taken in imports(ast.parse(path.read_text("utf8")), package):
            waiting.append(origin(module, taken))
    return found


def meaning(node: object) -> object:
    """Turn a syntax tree into nested tuples: no docstrings, no positions, no empty fields.

    (`ast.dump` will not do: what it writes differs between versions of Python.)
    """
    if isinstance(node, list):
        return tuple(meaning(item) for item in node)
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
        fields["body"] = fields["body"][1:]
    kept = ((key, meaning(value)) for key, value in fields.items() if value not in (None, []))
    return (type(node).__name__, *kept)


def fingerprint(name: str) -> str:
    """Hash the code behind a module; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for module, path in sorted(modules(name).items()):
        digest.update(f"{module} {meaning(ast.parse(path.read_text('utf8')))}\n".encode())
    return digest.hexdigest()
