"""Pages of the public names: those that the packages export in `__all__`."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import equivar_jax

PROMISE = (Path(__file__).parent / "api_promise.md").read_text()
NOT_ROOMS = {"old_places"}
WITH_INHERITED = {"equivar_jax.prediction.predictor.Predictor"}
"""Classes whose pages show what they have from a base, which is not public itself."""
INHERITANCE = "    options:\n      inherited_members: true\n"


def rooms(package: ModuleType = equivar_jax) -> Iterator[ModuleType]:
    """Yield every package with public names, the top one first."""
    if getattr(package, "__all__", None):
        yield package
    for found in pkgutil.iter_modules(package.__path__):
        if found.ispkg and found.name not in NOT_ROOMS:
            yield from rooms(importlib.import_module(f"{package.__name__}.{found.name}"))


def api_page() -> str:
    """Make the page that lists every public name with the first line of its docstring."""
    text = [PROMISE]
    for room in rooms():
        page = _page_of(room)
        first = (room.__doc__ or "").strip().splitlines()[0]
        text += [f"\n## [{room.__name__}]({Path(page).name})\n\n{first}\n", "| name | what |\n|---|---|"]
        text += [f"| `{name}` | {_summary(getattr(room, name))} |" for name in sorted(room.__all__)]
    return "\n".join(text) + "\n"


def room_pages() -> dict[str, str]:
    """Make a page for each package, which mkdocstrings fills from the docstrings."""
    return {_page_of(room): _room_page(room) for room in rooms() if room is not equivar_jax}


def _page_of(room: ModuleType) -> str:
    if room is equivar_jax:  # its names are those of a room
        room = importlib.import_module("equivar_jax.prediction")
    return f"reference/api-{room.__name__.removeprefix('equivar_jax').strip('.')}.md"


def _room_page(room: ModuleType) -> str:
    text = f"# {room.__name__}\n\n{inspect.cleandoc(room.__doc__ or '')}\n"
    for name in sorted(room.__all__):
        thing = getattr(room, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            place = f"{thing.__module__}.{thing.__qualname__}"
            text += f"\n::: {place}\n{INHERITANCE if place in WITH_INHERITED else ''}"
        else:
            text += f"\n### `{name}`\n\n{_summary(thing)}\n"
    return text


def _summary(thing: object) -> str:
    """Return the first line that says what a thing is, for a table."""
    if inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing):
        text = (inspect.getdoc(thing) or "").strip().split("\n\n")[0]
    else:
        text = f"a constant or type: `{thing!r}`"
        text = text if len(text) < 120 else f"a constant: {type(thing).__name__}"
    return " ".join(text.split()).replace("|", "\\|")
