"""The tables of the benchmark on a GPU in Markdown; what was not measured says so."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.common.tables import describe_where, markdown_table
from benchmarks.speed.scaling import PUBLISHED

TARGETS = {
    "bm1.py": {"inference": (1.0, 0.3), "training": (3.0, 1.0)},
    "bm2.py": {"inference": (0.5, 0.15), "training": (1.5, 0.5)},
}
"""Microseconds an atom that must be reached, and the aim."""
Rows = Iterable[Mapping[str, Any]]


def make_page(result: Mapping[str, Any]) -> str:
    """Make the page of all tables.

    Args:
        result: As `record.Record` writes it.
    """
    rows = list(result["rows"].values())
    copy: Mapping[str, Any] = next((row for row in rows if row["table"] == "rates"), {})
    rate = copy.get("bytes_per_second")
    where = describe_where(dict(result)) if "device" in result else "Not measured yet"
    spent = f"{result['seconds']:.0f} s in all" if "seconds" in result else ""
    tiny = "a tiny run that only tries the code; its times mean nothing" if result.get("tiny") else ""
    speed = "unmeasured" if rate is None else f"{rate / 1e9:.0f} GB/s read and written"
    parts = [
        "### On a GPU",
        "; ".join(part for part in (where, spent, tiny) if part) + f". The device's own copy: {speed}.",
        "#### Networks\n\n" + networks_table((row for row in rows if row["table"] == "networks"), rate),
        "The least traffic reads and writes the features of each layer once, and reads its edges once; XLA's "
        "count takes the body of a loop once. Both are divided by the time and by the rate of the copy.",
        "#### Figs. S2 and S3 of the paper\n\n" + scaling_table(rows),
        "#### One layer beside other libraries\n\n"
        + layers_table(row for row in rows if row["table"] == "layers"),
        "#### The largest crystal, layer by layer\n\n"
        + giant_table(row for row in rows if row["table"] == "giant"),
    ]
    return "\n\n".join(parts) + "\n"


def median(row: Mapping[str, Any]) -> float | None:
    """Return the microseconds an atom of a row, None where it was not measured."""
    return row["us_per_atom"]["median"] if row["status"] == "measured" else None


def in_words(row: Mapping[str, Any]) -> str:
    """Return the microseconds an atom of a row, or why there are none."""
    found = median(row)
    if found is not None:
        return f"{found:.3g}"
    return "unmeasured" if row["status"] == "unmeasured" else f"failed: {row['reason']}"


def networks_table(rows: Rows, rate: float | None) -> str:
    """Make the table of whole networks beside their targets.

    Args:
        rows: Of the table "networks".
        rate: Bytes a second of the device's own copy, if it was measured.
    """
    lines = []
    for row in rows:
        found = median(row)
        must, aim = TARGETS.get(row["config"], {}).get(row["kind"], (None, None))
        reached = "" if found is None or must is None else "yes" if found <= must else "no"
        shares = [_share(row, key, rate) for key in ("least_bytes", "bytes_counted_by_xla")]
        targets = ["" if bound is None else f"{bound:g}" for bound in (must, aim)]
        lines.append(
            [row["config"], f"{row['atoms']:,}", row["kind"], in_words(row), *targets, reached, *shares]
        )
    header = ["config", "atoms", "", "us an atom", "must", "aim", "reached"]
    return markdown_table([*header, "least traffic, share of the copy", "by XLA's count"], lines)


def _share(row: Mapping[str, Any], key: str, rate: float | None) -> str:
    """Return which share of the copy's rate some bytes in the time of a row are."""
    found, traffic = median(row), row.get(key)
    if found is None or not traffic or rate is None:
        return ""
    return f"{traffic / (1e-6 * found * row['measured_atoms'] * rate):.0%}"


def scaling_table(rows: Rows) -> str:
    """Make the table of one crystal and of training sets of growing size beside published times."""
    lines = []
    for row in rows:
        if row["table"] not in ("S2", "S3"):
            continue
        kind = "inference" if row["table"] == "S2" else "training"
        size = f"{row['atoms']:,} atoms" if "atoms" in row else f"{row['structures']} structures"
        published = 1e3 * PUBLISHED[row["config"]][kind]
        found = median(row)
        times = "" if found is None else f"{published / found:.0f}"
        lines.append([row["table"], row["config"], kind, size, in_words(row), f"{published:.0f}", times])
    header = ["figure", "config", "", "size", "us an atom (and epoch)", "published, RTX A6000"]
    return markdown_table([*header, "times faster"], lines)


def layers_table(rows: Rows) -> str:
    """Make the table of one layer of every library, and how many times ours it takes."""
    lines = []
    for row in rows:
        if row["status"] != "measured":
            lines.append([row["config"], f"{row['atoms']:,}", "", "", in_words(row)])
            continue
        left_out = [[row["config"], "", who, "", f"left out: {why}"] for who, why in row["left_out"].items()]
        for kind in ("forward", "with gradients"):
            best = row[kind]["equivar_jax"]["median"]
            for who, found in row[kind].items():
                words = f"{found['median']:.3g} ({found['median'] / best:.2f}x)"
                lines.append([row["config"], f"{row['measured_atoms']:,}", who, kind, words])
        lines += left_out
    return markdown_table(["layer of", "atoms", "library", "", "us an atom"], lines)


def giant_table(rows: Rows) -> str:
    """Make the table of the largest crystal."""
    lines = []
    for row in rows:
        peak, more = row.get("peak_bytes_of_device"), ["", "", ""]
        if row["status"] == "measured":
            more = [f"{row['first_call_seconds']:.1f}", f"{row['graph_seconds']:.1f}"]
            more.append("" if peak is None else f"{peak / 2**30:.1f}")
        atoms = row.get("measured_atoms", row["atoms"])
        lines.append([row["config"], f"{atoms:,}", in_words(row), *more])
    header = ["config", "atoms", "us an atom", "network with compilation, s", "graph before it, s"]
    return markdown_table([*header, "peak of the device, GiB"], lines)
