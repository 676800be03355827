"""Pages made of result files: benchmarks, tables of accuracy, textbook crystals, the model card."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from values import RESULTS, ROOT, load

CARD = ROOT / "equivar_jax" / "weights" / "README.md"
PICTURES = {".png", ".svg"}
_KINDS = ("ms_per_atom", "minimum", "median")
"""What is shown of a measurement, the first that there is."""


def result_pages() -> dict[str, str | bytes]:
    """Take over the pages that stand beside the results, with their pictures."""
    card = CARD.read_text().replace("`committee/calibration.png`", "![calibration](calibration.png)")
    pages: dict[str, str | bytes] = {
        "method/model-card.md": card,
        "method/textbook.md": (RESULTS / "textbook.md").read_text(),
        "method/accuracy.md": (RESULTS / "accuracy" / "README.md").read_text(),
        "method/calibration.png": (CARD.parent / "committee" / "calibration.png").read_bytes(),
    }
    for path in [*(RESULTS / "accuracy").iterdir(), *RESULTS.iterdir()]:
        if path.suffix in PICTURES:
            pages[f"method/{path.name}"] = path.read_bytes()
    return pages


def benchmark_page() -> str:
    """Make the page of speed from the JSON files that the benchmarks wrote."""
    head = (Path(__file__).parent / "benchmarks_head.md").read_text()
    return head + _networks() + _peers() + _scaling() + _derivatives() + _commands()


def _machine(found: dict) -> str:
    versions = f"JAX {found['versions']['jax']}, commit {found['commit']}"
    return f"{found['processor']}, {found['cores']} cores, {versions}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _networks() -> str:
    found = load("networks.json")
    text = f"\n## Cost of the networks\n\n`networks.json`: {_machine(found)}.\n\n"
    head = ("config", "parameters", "inference, ms an atom", "µs an edge", "training step, ms an atom")
    rows = [
        (
            f"`{row['config']}`",
            f"{row['parameters']:,}",
            f"{row['inference']['ms_per_atom']:.3f}",
            f"{row['inference']['us_per_edge']:.2f}",
            f"{row['training']['ms_per_atom']:.3f}",
        )
        for row in found["results"]
    ]
    return text + _table(head, rows)


def _peers() -> str:
    found = load("peers.json")
    text = f"\n## Beside torch with e3nn\n\n`peers.json`: {_machine(found)}, torch {found['torch']}; "
    text += "median, ms an atom.\n\n"
    rows = [
        (
            f"`{row['config']}`",
            f"{row['shape']}, {row['atoms']} atoms",
            name,
            *(_median(row[kind].get(name)) for kind in ("inference", "training")),
        )
        for row in found["results"]
        for name in row["inference"]
    ]
    text += _table(("config", "structures", "", "inference", "training"), rows)
    return text + "\n![ms an atom beside torch with e3nn](peers.png)\n"


def _median(measured: object) -> str:
    if isinstance(measured, dict):
        measured = next((measured[name] for name in _KINDS if name in measured), None)
    return "" if measured is None else f"{float(str(measured)):.3f}"


def _scaling() -> str:
    found = load("scaling.json")
    text = f"\n## Size\n\n`scaling.json`: {_machine(found)}.\n\n![time against size](scaling.png)\n\n"
    giants = [(row["config"], row["giant"]) for row in load("end_to_end.json")["results"]]
    rows = [
        (f"`{config}`", f"{giant['atoms']:,}", f"{giant['seconds']:.0f}", f"{giant['peak_GiB']:.1f}")
        for config, giant in giants
    ]
    return text + _table(("config", "atoms", "seconds", "peak memory, GiB"), rows)


def _derivatives() -> str:
    found = load("polarisation.json")
    text = f"\n## Tensors as derivatives of a polarisation\n\n`polarisation.json`: {_machine(found)}; "
    text += "least of repeated runs, wall time, ms an atom.\n\n"
    rows = [
        (
            row["contestant"],
            f"{row['parameters']:,}",
            *(_median(_wall(row.get(kind))) for kind in ("inference", "training")),
        )
        for row in found["results"]
    ]
    return text + _table(("", "parameters", "prediction", "training step"), rows)


def _wall(measured: object) -> object:
    return measured.get("wall", measured) if isinstance(measured, dict) else measured


def _commands() -> str:
    """Take the commands from the page of the benchmarks."""
    text = (ROOT / "benchmarks" / "README.md").read_text()
    named = dict.fromkeys(re.findall(r"python -m benchmarks[\w.]*", text))
    return (
        "\n## Run them\n\n"
        + "".join(f"    {command}\n" for command in named)
        + "\n`benchmarks/README.md` says what each does.\n"
    )


def tables_of(path: str, section: str) -> str:
    """Return the tables of a section of a page of results.

    Raises:
        KeyError: the page has no such section, or no table in it.
    """
    text = (ROOT / path).read_text()
    match = re.search(
        rf"^## {re.escape(section)}[^\n]*\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL
    )
    tables = re.findall(r"(?:^\|.*\n)+", match[1], flags=re.MULTILINE) if match else []
    if not tables:
        raise KeyError(f"{path}: no table below a heading {section!r}")
    return "\n".join(tables)
