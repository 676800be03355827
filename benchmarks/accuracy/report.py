"""The report of the accuracy benchmarks: `results/accuracy/README.md` and its pictures.

It is made from the JSON files beside it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy import from_charges as from_charges
from benchmarks.accuracy import plots as plots
from benchmarks.accuracy import tables as tables
from benchmarks.accuracy.result_file import read_rows
from benchmarks.accuracy.rows import DEMONSTRATION
from benchmarks.accuracy.tables import Rows
from benchmarks.common.tables import describe_where

_HEAD = """\
# Accuracy

Made by `python -m benchmarks.accuracy report` from the JSON files here; above each table stands its command.
Errors are in e, after the acoustic sum rule, over the nine components of all atoms, of the best weights
(those of the lowest validation error). "dia" and "off" are diagonal and off-diagonal components; RMSPE is the
root-mean-square percentage error of diagonals. Drift is the mean over the nine components of
|sum_i Z_i - Q 1| before the sum rule, in e. With several seeds: mean ± standard deviation.

**The labels of the demonstration set come from a polarisable-ion model, not from DFT.** Errors on it say how
well a network learns that function. Numbers of the paper (Kutana et al., Sci. Rep. 15, 2025: DFPT labels,
other structures, larger sets) stand beside them for orientation only.
"""


class Section(NamedTuple):
    """How a protocol is reported."""

    title: str
    paper: str
    """Text above the table, mostly what the paper did."""
    table: Callable[[Rows, bool], str]
    """Makes the table of rows; its second argument says whether published numbers belong in it."""
    picture: Callable[[Rows, Path], None] | None = None
    """Draws rows to a file."""


def _small_table(rows: Rows, published: bool) -> str:
    return tables.general_table(rows, tables.PUBLISHED_SMALL if published else ())


def _two_tables(rows: Rows, published: bool) -> str:
    return f"{tables.by_test_table(rows, published)}\n\n{tables.general_table(rows)}"


def _folds_tables(rows: Rows, _: bool) -> str:
    text = "Mean ± standard deviation over the folds:"
    return f"{tables.general_table(rows)}\n\n{text}\n\n{tables.elements_table(rows)}"


SECTIONS = {
    "small": Section(
        "A small set",
        "The paper: 224 perovskites, a model of 131k parameters.",
        _small_table,
    ),
    "table1": Section(
        "Specialised and combined models (Table 1)",
        "The paper: 1,224 perovskites, 17,991 Li3PO4 and 10,103 ZrO2 structures. Its numbers stand in the "
        'columns of the validation parts; "fresh" structures had no part in the choice of the best weights. '
        "Specialised models here are of the first config and have as many epochs, so fewer steps.",
        _two_tables,
        plots.plot_by_test,
    ),
    "folds": Section(
        "Cross-validation (Figs. 3 to 5, S4)",
        "The paper has 29,318 structures in all.",
        _folds_tables,
        plots.plot_folds,
    ),
    "hyperparameters": Section(
        "One setting at a time (Table S1)",
        "The base is the first line; every other line changes one of its settings.",
        lambda rows, _: tables.hyperparameter_table(rows),
        plots.plot_hyperparameters,
    ),
    "cutoff": Section(
        "3 Å with six interactions, 5 Å with three (Fig. S5)",
        "The paper compares the same two on its own, larger sets.",
        lambda rows, _: tables.general_table(rows),
    ),
    "transfer": Section(
        "From small cells to larger ones",
        "Trained on cells of one size, tested on repeated cells with vacancies (1x1x1: the size trained on).",
        lambda rows, _: f"{tables.general_table(rows)}\n\n{tables.tests_table(rows)}",
        plots.plot_transfer,
    ),
    "learning_curve": Section(
        "Error against the size of the training part",
        "As many optimisation steps for each size, so more epochs for smaller ones; one validation part.",
        lambda rows, _: tables.general_table(rows),
        plots.plot_learning_curve,
    ),
    "seeds": Section(
        "Seeds",
        "They decide initial weights and the order of batches; the division of the data is the same.",
        lambda rows, _: tables.seeds_table(rows),
    ),
    "drift": Section(
        "Charge drift before the sum rule",
        "Of single runs, not of varied settings. It grows with the size of the cell; that of "
        "the paper is of its own cells, and is taken as one a cell.",
        lambda rows, _: tables.drift_table(rows),
    ),
}
SECTIONS |= {
    "from_charges": Section(
        "What follows from the charges",
        "With force constants from the same forces for all; at Gamma, the softest mode above 1 cm^-1.",
        lambda rows, _: from_charges.tables_of(rows),
        from_charges.plot_errors,
    ),
    "targets": Section(
        "Real DFPT data",
        "References: Allegro-pol has about 0.016 e on BaTiO3 and 0.0067 e on SiO2, on other frames than "
        "these (a domain wall; 600 K); a NequIP-style model of 1.43 M parameters 0.107 e on phonon-dfpt "
        "(random split, best of run). BM1 and BM2 have the published recipe; BM3 of the trajectories is "
        "`bm3_deep.py`, and BM3 by AdamW what that was before, with 32 radial functions; seconds of the "
        "former are too many, since other trainings ran beside. Trajectories are trained on whole, so that "
        "their validation is the training error; `test` is the last frames of the file, or a tenth of the "
        "compositions, and was never tuned on. The last 12 frames of BaTiO3 are of the state trained on, and "
        "their order in time is not known; the last 32 of SiO2 are at 600 K, in shuffled order with 27 that "
        "are trained on beside 101 at 300 K. For other states see below. A mean of seeds is one prediction, "
        "with parameters and times of all of them.",
        lambda rows, _: tables.targets_table(rows),
    ),
    "teacher": Section(
        "Teachers: the derivative form on trajectories",
        "Committees of `benchmarks.teacher`; parameters and seconds of all members, errors of their mean. "
        "`validation` is the training error. Seconds are of runs that shared a GPU, compilation included; "
        "harmonics could be rounded to TF32 there, which `tests/network/test_precision.py` has refused "
        "since.",
        lambda rows, _: tables.targets_table(rows),
    ),
    "taught": Section(
        "bm3_deep with 64 channels, taught",
        "Trained on the training frames and on mixtures of them that the teacher labelled; the last weights; "
        "`validation` is the error on the training frames. Width and rate were chosen on the last 8 of the "
        "47 frames of BaTiO3. Runs on a GPU shared it, and harmonics could be rounded to TF32, which is "
        "refused since; on a CPU the same weights have the same errors to four digits. Of SiO2 seed 0 was "
        "trained on the GPU (320 s), the others on a core of a CPU.",
        lambda rows, _: tables.targets_table(rows),
    ),
    "ablation": Section(
        "BM3 with one thing changed",
        "On validation compositions of phonon-dfpt, short runs of equal length. "
        "Lines with several seeds say how much the others may owe to chance. The sum rule in the loss, 3 % "
        "worse here and 1 % better below, is no longer there.",
        lambda rows, _: tables.general_table(rows),
    ),
    "foundation": Section(
        "The shipped weights with one thing changed",
        "On the 196 validation compositions of their data; of 12 epochs if not said otherwise, where the "
        "shipped ones have 48. A few crystals have much of the error, and sums in another order lead "
        "elsewhere, so that a single run says little: the one without weight decay had 0.065 e when it ran a "
        "second time with the same seed.",
        lambda rows, _: tables.general_table(rows),
    ),
    "ablation_trajectory": Section(
        "bm3_deep with one thing changed",
        "On the last 8 of the 47 training frames of BaTiO3, which are of the state trained on and may be "
        "neighbours of frames trained on; short runs of equal length.",
        lambda rows, _: tables.general_table(rows),
    ),
    "states": Section(
        "Away from the state of training",
        "Networks of one material. SiO2: trained on quartz at 300 K, `transfer` is 600 K. BaTiO3: trained "
        "on the half of the frames with smaller displacements from the mean positions, `transfer` is the "
        "other half. `held out` are frames of the state that is trained on, perhaps neighbours of frames "
        "trained on, and decide nothing. 99 % and largest: percentile and maximum over atoms of the root of"
        " the mean square over the nine components. Short runs of equal length, but for those named "
        '"longer". `bm3_deep` is the config as it was, by AdamW with 32 radial functions; it now has 12, and '
        "Muon, and `bm4.py` is the polarisation of these. Settings are chosen by `transfer`, which is "
        "therefore no test of what is chosen. Seconds are of a core that others used, too.",
        lambda rows, _: tables.states_table(rows),
    ),
    "unseen": Section(
        "Elements that training did not have",
        "BM3 on crystals of phonon-dfpt with Rb, Sr, In, Se or Br, trained on those without; training leaves "
        "the vector of such an element where it starts, but for the decay of weights.",
        lambda rows, _: tables.general_table(rows),
    ),
    "finetune": Section(
        "Fine-tuning on few frames",
        "BaTiO3 at 300 K, tested on the last 12 frames of the file; equal numbers of steps, from scratch "
        "`bm3_deep.py`, and what that was before Muon. The shipped weights have not seen any frame of it.",
        lambda rows, _: tables.finetune_table(rows),
    ),
}
_WITH_TESTS = ("table1", "transfer", "targets", "teacher", "taught", "states", "finetune")
"""Protocols whose table has the test sets in it, so that they need no table of their own."""
_OTHER = Section("Runs", "", lambda rows, _: tables.general_table(rows))


def make_section(path: Path) -> str:
    """Return the section of one result file in Markdown, and draw its picture beside the file."""
    content = read_rows(path)
    rows, published = content["rows"], content["data"] == DEMONSTRATION
    known = SECTIONS.get(content["protocol"], _OTHER)
    made = "\n".join(f"    {command}" for command in dict.fromkeys(row["command"] for row in rows))
    machines = "; ".join(dict.fromkeys(describe_where(row["machine"]) for row in rows))
    parts = [
        f"## {known.title} (`{path.name}`)",
        made,
        " ".join(filter(None, [f"Labels: {content['data']}.", known.paper, f"{machines}."])),
    ]
    parts.append(known.table(rows, published))
    if content["protocol"] not in _WITH_TESTS and any(row.get("tests") for row in rows):
        parts.append(tables.tests_table(rows))
    if known.picture is not None and tables.select_finished(rows):
        picture = path.with_suffix(".png")
        known.picture(tables.select_finished(rows), picture)
        parts.append(f"![{known.title}]({picture.name})" if picture.is_file() else "")
    return "\n\n".join(part for part in parts if part)


def write_report(folder: Path) -> None:
    """Write the README and pictures of a folder of result files, in the order of `SECTIONS`."""
    order = [*SECTIONS]
    files = sorted(folder.glob("*.json"), key=lambda path: (_protocol_position(path, order), path.stem))
    text = "\n\n".join([_HEAD.strip(), *map(make_section, files)])
    (folder / "README.md").write_text(text + "\n")
    print(f"written: {folder / 'README.md'}, of {len(files)} result files")


def write_drift(folder: Path, command: str) -> None:
    """Write `drift.json`: the drift of every evaluated run in a folder, except for protocols in `MANY`."""
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        content = read_rows(path)
        if content["protocol"] in ("drift", *tables.MANY):
            continue
        for row in (row for row in tables.select_finished(content["rows"]) if "seeds" not in row):
            for name, report in {"validation": row["validation"], **row.get("tests", {})}.items():
                if name != "validation" and report["drift"] == row["validation"]["drift"]:
                    continue  # this test set is the validation part under another name
                parts = {key: row[key] for key in ("label", "parameters", "machine")}
                found.append({
                    "file": path.stem, "protocol": content["protocol"], **parts, "command": command,
                    "facts": {}, "set": name, "atoms": report["overall"]["atoms"], "drift": report["drift"],
                })  # fmt: skip
    content = {"protocol": "drift", "data": "those of the runs", "rows": found}
    (folder / "drift.json").write_text(json.dumps(content, indent=1) + "\n")
    print(tables.drift_table(found))


def _protocol_position(path: Path, order: list[str]) -> int:
    protocol = read_rows(path)["protocol"]
    return order.index(protocol) if protocol in order else len(order)
