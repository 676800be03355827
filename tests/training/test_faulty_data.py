"""What a data file can have wrong, and what each program makes of it: refused, or set aside by name."""

import csv

import pytest
from helpers.frames import GOOD, HEADER, TENSOR, frame

from equivar_jax import evaluate, predict, train
from equivar_jax.config.schema import Config, DataConfig
from equivar_jax.datasets.load import load_dataset

# What a file holds -> what the complaint must say. The fault is in the sixth frame.
FAULTY = {
    "positions that are no numbers": (
        GOOD + frame(("Ca nan 0 0" + TENSOR, "O 2 2 0" + TENSOR)),
        "frame 5: position of atom 0 is not finite",
    ),
    "infinite positions": (
        GOOD + frame(("Ca 0 0 0" + TENSOR, "O 2 inf 0" + TENSOR)),
        "frame 5: position of atom 1 is not finite",
    ),
    "labels that are no numbers": (
        GOOD + frame(("Ca 0 0 0" + TENSOR, "O 2 2 0 nan" + TENSOR[2:])),
        "frame 5: Born effective charge of atom 1 is not finite",
    ),
    "infinite labels": (
        GOOD + frame(("Ca 0 0 0 -inf" + TENSOR[2:], "O 2 2 0" + TENSOR)),
        "frame 5: Born effective charge of atom 0 is not finite",
    ),
    "labels of the wrong shape": (
        GOOD + frame(("Ca 0 0 0 1 1 1", "O 2 2 0 1 1 1"), label=":becs:R:3"),
        "frame 5: column 'becs' is R:3, expected R:9",
    ),
    "a cell without volume": (
        GOOD + frame(header=HEADER.replace("0 0 4", "0 4 0")),
        "frame 5: periodic along 3 directions, but their cell vectors span no volume",
    ),
    "two atoms at one place": (
        GOOD + frame(("Ca 0 0 0" + TENSOR, "O 4 0 4" + TENSOR)),
        "frame 5: atoms 0 and 1 are 0 Å apart; remove the duplicate",
    ),
    "a charge that is no number": (
        GOOD + frame(more=" charge=plus"),
        "frame 5: the net charge 'plus' in its info is not a finite number",
    ),
    "an unknown element": (
        GOOD + frame(("Qq 0 0 0" + TENSOR, "O 2 2 0" + TENSOR)),
        "frame 5: atom 0 has the unknown element 'Qq'",
    ),
}
CUT_SHORT = "a frame cut short"
UNREADABLE = {
    CUT_SHORT: (GOOD + frame()[:90], "frame 5: "),
    "no structures": ("\n\n", "no structures in the file"),
    "no content": ("", "the file is empty"),
    "something else": ("What a lovely day.\n", "frame 0: expected a line with the number of atoms"),
    "no label": (frame(("Ca 0 0 0", "O 2 2 0"), label=""), "frame 0: no Born effective charges"),
}
COINCIDENT = "two atoms at one place"  # found when the graph is built


@pytest.fixture
def faulty(tmp_path):
    def write_fault(name):
        text, found = {**FAULTY, **UNREADABLE}[name]
        path = tmp_path / "data.extxyz"
        path.write_text(text)
        return path, found

    return write_fault


@pytest.mark.parametrize("fault", [*FAULTY, *UNREADABLE])
@pytest.mark.parametrize("setting", ["--data.path", "--data.validation_path"])
def test_training_without_hygiene_refuses_faulty_data_and_leaves_no_folder(
    faulty, labelled_file, complaint, tmp_path, fault, setting
):
    path, found = faulty(fault)
    other = () if setting == "--data.path" else ("--data.path", labelled_file)
    folder = tmp_path / "runs" / "run"
    words = ("--config", "test.py", "--data.hygiene.enabled", "False", *other, setting, path)
    message = complaint(train.main, *words, "--run-dir", folder)
    assert message.startswith(str(path))
    assert found in message
    assert not folder.parent.exists()


@pytest.mark.parametrize("fault", UNREADABLE)
def test_training_refuses_a_file_that_cannot_be_read_on(faulty, complaint, tmp_path, fault):
    path, found = faulty(fault)
    folder = tmp_path / "runs" / "run"
    message = complaint(train.main, "--config", "test.py", "--data.path", path, "--run-dir", folder)
    assert message.startswith(str(path))
    assert found in message
    assert not folder.parent.exists()


@pytest.mark.parametrize("fault", FAULTY)
def test_hygiene_sets_a_faulty_frame_aside_with_its_reason(faulty, fault):
    path, found = faulty(fault)
    dataset = load_dataset(Config(data=DataConfig(str(path))))
    assert len(dataset.training) + len(dataset.validation) == 5
    (finding,) = [finding for finding in dataset.findings if finding.refused]
    assert finding.source == f"{path}, frame 5"
    assert (
        f"{finding.source}: {finding.reason}".startswith(f"{path}, {found}"[:80]) or found in finding.reason
    )


@pytest.mark.parametrize("fault", [*UNREADABLE, COINCIDENT])
def test_evaluation_refuses_faulty_data(faulty, trained, complaint, tmp_path, fault):
    path, found = faulty(fault)
    message = complaint(
        evaluate.main, "--checkpoint", trained.folder, "--data", path, "--output", tmp_path / "out"
    )
    assert message.startswith(str(path))
    assert found in message


@pytest.mark.parametrize("fault", [fault for fault in FAULTY if fault != COINCIDENT])
def test_evaluation_names_and_counts_what_it_sets_aside(faulty, trained, tmp_path, capsys, fault):
    path, found = faulty(fault)
    words = ["--checkpoint", trained.folder, "--data", path, "--output", tmp_path / "out"]
    evaluate.main([str(word) for word in words])
    said = capsys.readouterr()
    assert f"set aside: 1 unreadable, such as {path}, {found}" in said.err
    assert "all     10" in said.out


@pytest.mark.parametrize("fault", [*FAULTY, CUT_SHORT])
@pytest.mark.parametrize("name", ["o.csv", "o.extxyz"])
def test_prediction_skips_and_lists_faulty_structures(faulty, trained, tmp_path, capsys, fault, name):
    path, found = faulty(fault)
    predict.main(["--checkpoint", str(trained.folder), str(path), "-o", str(tmp_path / name)])
    said = capsys.readouterr().err
    assert "10 tensors of 5 structures" in said
    assert "; 1 skipped" in said
    listed = (tmp_path / f"{name}.skipped.csv").read_text().splitlines()
    ((file, number, reason),) = list(csv.reader(listed))[1:]
    assert file == str(path)
    assert found in f"frame {number}: {reason}"
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize("fault", [name for name in UNREADABLE if name not in ("no label", CUT_SHORT)])
def test_prediction_refuses_files_without_a_structure(faulty, trained, complaint, tmp_path, fault):
    path, found = faulty(fault)
    message = complaint(predict.main, "--checkpoint", trained.folder, path, "-o", tmp_path / "o.csv")
    assert message.startswith(str(path))
    assert found in message
    assert not (tmp_path / "o.csv").exists()
