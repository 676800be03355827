import csv

import numpy as np
import pytest
from helpers.hygiene_crystals import distorted, perovskite, relabelled

from equivar_jax.data import main
from equivar_jax.io import write_structures
from equivar_jax.structures import born_effective_charges


@pytest.fixture
def files(tmp_path):
    """A good file with a copy and a bare structure, and one with a broken label."""
    tensors = born_effective_charges(distorted(1)).copy()
    tensors[0] += np.eye(3)
    write_structures(tmp_path / "good.extxyz", [distorted(), perovskite(), distorted(), distorted(3).copy()])
    write_structures(tmp_path / "bad.extxyz", [relabelled(distorted(1), tensors, "")])
    text = (tmp_path / "good.extxyz").read_text().splitlines(keepends=True)
    text[2] = text[2].rsplit(maxsplit=1)[0] + " nan\n"
    (tmp_path / "nan.extxyz").write_text("".join(text[:44]))
    return [str(tmp_path / name) for name in ("good.extxyz", "bad.extxyz", "nan.extxyz")]


def findings(folder):
    with (folder / "set_aside.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_check_counts_and_writes(files, tmp_path, capsys):
    main(["check", *files, "--output", str(tmp_path / "out"), "--rare-element", "0"])
    output = capsys.readouterr().out
    header, good, bad, nan, everything = output.splitlines()[:5]
    columns = header.replace("sum rule", "sum_rule").replace("no label", "no_label").split()
    assert columns == ["file", "structures", "kept", "no_label", "unreadable", "sum_rule", "duplicate"]
    assert good.split() == [files[0], "4", "2", "1", "0", "0", "1"]
    assert bad.split() == [files[1], "1", "0", "0", "0", "1", "0"]
    assert nan.split() == [files[2], "1", "0", "0", "1", "0", "1"]
    assert everything.split() == ["all", "6", "2", "1", "1", "1", "2"]
    assert {row["rule"] for row in findings(tmp_path / "out")} == {"unreadable", "sum rule", "duplicate"}
    assert f"{files[1]}, frame 0" in {row["source"] for row in findings(tmp_path / "out")}
    assert (tmp_path / "out" / "hygiene.png").stat().st_size > 10_000


def test_every_tolerance_is_an_option(files, tmp_path, capsys):
    main(
        [
            "check",
            files[1],
            "--output",
            str(tmp_path),
            "--sum-rule",
            "0.5",
            "--rare-element",
            "2",
            "--refuse-rare",
        ]
    )
    (row,) = findings(tmp_path)
    assert (row["rule"], row["refused"]) == ("rare element", "yes")


def test_the_first_index_can_be_told(files, tmp_path, capsys):
    def log_odds(*words):
        main(["check", files[1], "--output", str(tmp_path), "--sum-rule", "9", *words])
        return float(capsys.readouterr().out.split("log odds ")[1].split(",")[0])

    stored = log_odds("--key", "born_effective_charges")
    assert log_odds("--first-index", "displacement") == -stored != 0.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.extxyz"], "missing.extxyz: no such file"),
        (["--sum-rule", "0.1"], "the following arguments are required: FILE"),
        (["{good}", "--sum-rule", "-1"], "sum_rule -1.0 is not above zero"),
        (["{good}", "--symprec", "fine"], "invalid float value"),
        (["{good}", "--output", "{good}"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line(words, message, files, complaint):
    assert message in complaint(main, "check", *(word.format(good=files[0]) for word in words))
