"""The tables of `benchmarks/README.md`, from the JSON in `results/`: `python -m benchmarks.speed.report`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.tables import describe_where, markdown_table
from benchmarks.common.timing import RESULTS
from benchmarks.speed.polarisation.table import polarisation_table

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- made by benchmarks.speed.report: begin -->", "<!-- end -->"


def read_result(name: str) -> dict[str, Any] | None:
    """Read a result, or return None where it was not measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def peers_section(name: str, title: str) -> str:
    """Return the section on one comparison with other programs."""
    found = read_result(name)
    if found is None:
        return f"### {title}\n\nNot measured."
    table = peers_table(found["results"])
    return f"### {title}\n\nms an atom, and how many times ours; {describe_where(found)}.\n\n{table}"


def peers_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Make a table of every contestant's median in ms an atom, and how many times ours it is."""
    rows = []
    for result in results:
        for kind in ("inference", "training"):
            best = result[kind]["equivar_jax"]["median"]
            cells = [f"{row['median']:.4f} ({row['median'] / best:.1f}x)" for row in result[kind].values()]
            rows.append([f"{result['shape']}, {result['atoms']} atoms", result["config"], kind, *cells])
    return markdown_table(["shape", "config", "", *results[0]["inference"]], rows)


def roofline_section() -> str:
    """Return the section on inference beside the machine's own rates."""
    found = read_result("roofline")
    if found is None:
        return "### Roofline\n\nNot measured."
    rows = [
        [
            result["config"],
            f"{result['inference_us_per_atom']:.1f}",
            f"{result['roofline_us_per_atom']:.1f}",
            f"{result['times_the_roofline']:.2f}",
            f"{result['matrix_rate_GFLOP_s']:.0f}",
            f"{result['copy_rate_GB_s']:.1f}",
        ]
        for result in found["results"]
    ]
    header = ["config", "us an atom", "roofline", "times", "matrix GFLOP/s", "copy GB/s (one core)"]
    return f"### Roofline of the factored form\n\n{describe_where(found)}.\n\n{markdown_table(header, rows)}"


def end_to_end_section() -> str:
    """Return the section on the time that a user waits."""
    found = read_result("end_to_end")
    if found is None:
        return "### End to end\n\nNot measured."
    rows = [
        [
            result["config"],
            f"{result['mixed']['ratio']:.2f}",
            f"{result['giant']['atoms']:,}",
            f"{result['giant']['seconds']:.0f}",
            f"{result['giant']['peak_GiB']:.1f}",
            f"{result['giant']['added_kB_per_atom']:.1f}",
        ]
        for result in found["results"]
    ]
    header = ["config", "1,000 mixed structures, times the network alone"]
    header += ["giant crystal, atoms", "s", "peak GiB", "kB an atom"]
    return f"### End to end\n\n{describe_where(found)}.\n\n{markdown_table(header, rows)}"


def first_second_section(found: dict[str, Any] | None) -> str:
    """Return the section on what a user waits for, before and after.

    Args:
        found: As `benchmarks.speed.first_second` writes it; None where it was not measured.
    """
    if found is None:
        return "### From the first second\n\nNot measured."
    rows = [
        _compare_in_words(result, row["commits"])
        for row in found["rows"].values()
        for result in row["results"]
    ]
    header = ["", "old", "new", "times faster", "must", "aim", "reached", "commits"]
    return f"### From the first second\n\n{describe_where(found)}.\n\n{markdown_table(header, rows)}"


def _compare_in_words(result: Mapping[str, Any], commits: Sequence[str]) -> list[str]:
    """Return one line of the table: a number with both builds, and what it must be."""
    unit, target = result["unit"], result["target"]

    def words(value: float | None, unit: str = unit) -> str:
        return "" if value is None else f"{value:.3g} {unit}".replace(" times", "")

    must = aim = ""
    if target is not None:
        prefix, of = ("", "x") if target["kind"] == "times faster" else ("at most ", unit)
        must, aim = (
            "" if bound is None else prefix + words(bound, of).replace(" x", "x")
            for bound in (target["must"], target["aim"])
        )
    reached = {True: "yes", False: "no", None: ""}[result["reached"]]
    values = [words(result["old"]), words(result["new"]), words(result["times_faster"], "times")]
    return [result["what"], *values, must, aim, reached, " / ".join(commits)]


def scaling_section() -> str:
    """Return the section on time an atom against size."""
    found = read_result("scaling")
    if found is None:
        return "### Scaling\n\nNot measured."
    inference, training = [], []
    for config, result in found["results"].items():
        for row in result["inference"]:
            cells = [
                f"{row['atoms']:,}",
                f"{1e3 * row['median_ms_per_atom']:.1f}",
                f"{row['host_share']:.0%}",
            ]
            inference.append([config, row["family"], *cells, f"{row['first_call_seconds']:.1f}"])
        for row in result["training"]:
            cells = [str(row["structures"]), f"{row['median_ms_per_atom_epoch']:.3f}"]
            cells += [f"{row['padding_fill']:.0%}", f"{row['host_share']:.0%}"]
            training.append([config, row["family"], *cells, f"{row['first_epoch_seconds']:.1f}"])
    first = markdown_table(
        ["config", "crystal", "atoms", "us an atom", "host share", "first call, s"], inference
    )
    header = ["config", "set", "structures", "ms an atom and epoch", "fill", "host share", "first epoch, s"]
    return f"### Scaling\n\n{describe_where(found)}.\n\n{first}\n\n{markdown_table(header, training)}"


def polarisation_section() -> str:
    """Return the section on tensors as derivatives of a polarisation."""
    title, found = "### Derivatives of a polarisation", read_result("polarisation")
    if found is None:
        return f"{title}\n\nNot measured."
    frame = f"{found['frame']['atoms']} atoms of {found['frame']['set']}"
    about = f"Lowest of {found['repeats']}, {frame}; {describe_where(found)}."
    return f"{title}\n\n{about}\n\n{polarisation_table(found['results'])}"


def gpu_section() -> str:
    """Return the section on a GPU, as `benchmarks.gpu` has written it."""
    page = RESULTS / "gpu.md"
    return page.read_text().strip() if page.is_file() else "### On a GPU\n\nNot measured."


def main() -> None:
    """Write the tables between the marks in the README."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    parts = [
        peers_section("peers", "Against torch with e3nn"),
        peers_section("peers_slow", "Against the slower forms, on few structures"),
        first_second_section(read_result("first_second")),
        polarisation_section(),
        roofline_section(),
        end_to_end_section(),
        scaling_section(),
        gpu_section(),
    ]
    README.write_text(before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + after)


if __name__ == "__main__":
    main()
