"""The page of messages: every `InputError` of the package, from its source, and every kind of warning."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import equivar_jax

PACKAGE = Path(equivar_jax.__file__).parent
HEAD = (Path(__file__).parent / "messages_head.md").read_text()
ERRORS = ("InputError", "NotFiniteError", "AgreedError")
"""The class, and the kinds of it whose message is given where they are raised."""


def messages_page() -> str:
    """Make the page: a head by hand, the warnings, then the errors of every room."""
    text = HEAD + "\n## Warnings\n\n| kind | what it means |\n|---|---|\n"
    for kind in sorted(set(_warnings()), key=lambda kind: kind.__name__):
        said = (inspect.getdoc(kind) or "").partition("\n\nArgs:")[0]
        said = " ".join(said.split()).replace("|", "\\|")
        text += f"| `{kind.__name__}` | {said} |\n"
    text += "\n## Errors\n\nEach names the place and the fix; ⟨…⟩ stands for what is filled in.\n"
    for room, found in _by_room().items():
        text += f"\n### {room}\n\n" + "".join(f"- {message}\n" for message in sorted(found))
    return text


def _warnings() -> Iterator[type[Warning]]:
    """Yield the classes of warnings that the package defines."""
    for found in pkgutil.walk_packages(equivar_jax.__path__, "equivar_jax."):
        path = PACKAGE.parent / Path(*found.name.split("."))
        source = path / "__init__.py" if found.ispkg else path.with_suffix(".py")
        if source.is_file() and "Warning)" in source.read_text():
            module = importlib.import_module(found.name)
            for _, kind in inspect.getmembers(module, inspect.isclass):
                if issubclass(kind, Warning) and kind.__module__ == found.name:
                    yield kind


def _by_room() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        room = inside.parts[0] if len(inside.parts) > 1 else "programs"
        for message in messages_of(path):
            found.setdefault(room, set()).add(message)
    return found


def messages_of(path: Path) -> Iterator[str]:
    """Yield the message of every `InputError(...)` of a source file, with ⟨...⟩ for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            message = _template(node.args[0]) if node.args else ""
            if message.replace("⟨…⟩", "").strip(" :;,."):
                yield message.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _template(node: ast.expr) -> str:
    """Return the text of an expression, with ⟨…⟩ for what is known only when it runs."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left) + _template(node.right)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        return f"⟨{node.value.id}⟩"
    return "⟨…⟩"
