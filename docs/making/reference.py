"""Pages of commands, settings and file formats, made from parsers, dataclasses and tables."""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import re
from typing import Any

from equivar_jax import io as files
from equivar_jax.__main__ import COMMANDS
from equivar_jax.__main__ import main as equivar
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import setting_bounds, setting_types, type_name
from equivar_jax.config.teaching import TeachConfig
from equivar_jax.io import formats
from equivar_jax.response.__main__ import TASKS

COLUMNS = "96"


def commands_page() -> str:
    """Make the page of the command line: what `--help` of every command prints."""
    text = (
        "# Command line\n\nThis page is what `--help` prints. `equivar` is also `python -m equivar_jax`, and "
    )
    text += "`equivar train` is `python -m equivar_jax.train`.\n\n```text\n" + help_of([]) + "```\n"
    for name, command in COMMANDS.items():
        text += f"\n## equivar {name}\n\n{command.what[0].upper()}{command.what[1:]}.\n"
        if name == "response":
            for task, entry in TASKS.items():
                text += f"\n### equivar response {task}\n\n{entry.what[0].upper()}{entry.what[1:]}.\n"
                text += f"\n```text\n{help_of(['response', task, '--help'])}```\n"
        else:
            words = [name, "check", "--help"] if name == "data" else [name, "--help"]
            text += f"\n```text\n{_without_settings(help_of(words))}```\n"
    return text


def help_of(words: list[str]) -> str:
    """Return what the program prints, in lines of a fixed width and without colours."""
    printed, before = io.StringIO(), {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ |= {"COLUMNS": COLUMNS, "NO_COLOR": "1"}
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            equivar(words)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue()).splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _without_settings(text: str) -> str:
    """Leave out the settings that `train --help` lists; they have a page of their own."""
    before, box, _ = text.partition("╭─ options")
    if not box:
        return text
    return f"{before}options: -h, --help, and every setting, with the values of the config as defaults.\n"


def settings_page() -> str:
    """Make the page of all settings, from the dataclasses and the lines below their fields."""
    text = (
        "# Settings\n\nEvery setting, as `equivar/config` has it: `--data.path my.extxyz` on the "
        "command line, `DataConfig(path=...)` in a config file. Defaults are those of the dataclasses; a "
        "config such as `bm3.py` has its own. [The command line](commands.md) has other options.\n"
    ).replace("equivar/config", "equivar_jax.config.schema")
    types, bounds = setting_types(Config), setting_bounds(Config)
    for prefix, kind in _sections(Config):
        text += _section(prefix, kind, types, bounds)
    types, bounds = setting_types(TeachConfig, "teach."), setting_bounds(TeachConfig, "teach.")
    return text + _section("teach.", TeachConfig, types, bounds)


def _sections(kind: type, prefix: str = "") -> list[tuple[str, type]]:
    """List the dataclasses below one with their prefix."""
    found: list[tuple[str, type]] = []
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(default := _default(field)):
            found += [
                (f"{prefix}{field.name}.", type(default)),
                *_sections(type(default), f"{prefix}{field.name}."),
            ]
    return found


def _section(prefix: str, kind: type, types: dict[str, Any], bounds: dict[str, Any]) -> str:
    said = field_docs(kind)
    text = f"\n## {prefix.rstrip('.')}\n\n{inspect.getdoc(kind)}\n\n"
    text += "| setting | value | default | what |\n|---|---|---|---|\n"
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = f"{prefix}{field.name}"
        if name not in types:
            continue
        limit = bounds.get(name)
        value = type_name(types[name]) + (f", {_bound(limit)}" if limit else "")
        what = said.get(field.name, "").replace("|", "\\|")  # else it would end the cell
        text += f"| `--{name}` | {value} | `{_default(field)!r}` | {what} |".replace("\n", " ")
        text += "\n"
    return text


def field_docs(kind: type) -> dict[str, str]:
    """Read the string that stands below each field of a class."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    said = {}
    for one, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and isinstance(after, ast.Expr)
        ):
            assert isinstance(after.value, ast.Constant)
            said[one.target.id] = " ".join(str(after.value.value).split())
    return said


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _bound(limit: Any) -> str:
    values = dataclasses.astuple(limit)
    words = {"Above": "above {}", "AtLeast": "{} or more", "Between": "between {} and {}"}
    return words[type(limit).__name__].format(*values)


def formats_page() -> str:
    """Make the page of file formats: the table of readers with what their modules say, and the writers."""
    text = (
        "# File formats\n\nA format is told by the content of a file, also compressed, in "
        "the order of this table. Whatever a file says, labels come out as float64 (N, 3, 3), [atom, field, "
        "displacement], in e.\n\n"
        "| format | read by |\n|---|---|\n"
    )
    for form in formats.FORMATS:
        text += f"| {form.title} | [`io/{form.module}.py`](#{form.module}) |\n"
    text += "\n## What is written\n\n| name of the file | written by |\n|---|---|\n"
    for suffix, (module, function, packs) in files._WRITERS.items():
        compressed = ", also compressed" if packs else ""
        text += f"| `{suffix}`{compressed} | [`io/{module}.py`](#{module}): `{function}` |\n"
    text += "\n## What the modules say\n\nIndex orders, what is refused, and the sources.\n"
    modules = [form.module for form in formats.FORMATS] + [module for module, *_ in files._WRITERS.values()]
    for module in dict.fromkeys(modules):
        said = inspect.getdoc(importlib.import_module(f"equivar_jax.io.{module}"))
        text += f"\n### {module}\n\n{said}\n"
    return text


def index_orders() -> str:
    """Make the table of index orders: what each reader's module says of its format."""
    titles: dict[str, list[str]] = {}
    for form in formats.FORMATS:
        titles.setdefault(form.module, []).append(form.title)
    text = "| format | first index in the file | what its module says |\n|---|---|---|\n"
    for module, names in titles.items():
        said = inspect.getdoc(importlib.import_module(f"equivar_jax.io.{module}")) or ""
        paragraphs = [" ".join(part.split()) for part in said.split("\n\n")]
        about = [part for part in paragraphs if re.match(r"Index order|.*first index|- \"Effective", part)]
        bold = [
            part
            for part in re.findall(r"\*\*(.*?)\*\*", " ".join(about))
            if re.search("field|displacement", part)
        ]
        if bold:
            first = "displacement" if "displacement" in bold[0] else "field"
            detail = about[0].replace("|", "\\|")
            text += f"| {', '.join(names)} | **{first}** | {detail} |\n"
    return text
