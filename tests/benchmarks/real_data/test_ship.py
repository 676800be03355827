"""How the weights of the package are made, with tiny networks and few structures."""

import json
import re
from fnmatch import fnmatch

import numpy as np
import pytest
from helpers.crystals import assert_no_absolute_path

from benchmarks.real_data import ship, union
from benchmarks.real_data.model_card import describe_settings
from benchmarks.real_data.parts import divide_set
from benchmarks.real_data.sources import LICENCE, SOURCES
from benchmarks.real_data.union import unite, without_crystals_of
from equivar_jax import load
from equivar_jax.config.files import load_config
from equivar_jax.datasets import demonstration_set
from equivar_jax.errors import InputError
from equivar_jax.hygiene.fingerprints import composition
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import labels_of
from equivar_jax.weights import shipped_checkpoint

MEMBERS = 2
TRAINED_ON = {source.name for source in SOURCES if source.is_trained_on}
IN_BOTH = 4
"""Crystals of phonon-dfpt, strained a little, that phonondb has, too."""

pytestmark = [  # of few structures, which have no tungsten
    pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning"),
    pytest.mark.filterwarnings("ignore::equivar_jax.prediction.UnseenElementWarning"),
]


def strained(atoms):
    copy = atoms.copy()
    copy.calc = atoms.calc
    copy.set_cell(1.002 * atoms.cell.array, scale_atoms=True)
    return copy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small sets under the names of the real ones; mp-dielectric has no dielectric tensors."""
    folder = tmp_path_factory.mktemp("data")
    crystals = [*demonstration_set(perovskites=36, li3po4=0, zro2=0, seed=1)]
    tested = {composition(atoms) for atoms in crystals[:4]}
    for k, atoms in enumerate(crystals):
        atoms.info = {"epsilon_inf": (3.0 + 0.05 * k) * np.eye(3)}
        atoms.info["split"] = "test" if composition(atoms) in tested else "train"
    files = {
        "phonondb": crystals[:24],
        "phonon-dfpt": [*map(strained, crystals[24 - IN_BOTH : 24]), *crystals[24:34]],
        "mp-dielectric": [atoms.copy() for atoms in crystals[22:]],
    }
    for atoms, original in zip(files["mp-dielectric"], crystals[22:], strict=True):
        atoms.calc = original.calc
        atoms.info = {}
    for name, part in files.items():
        write_structures(folder / f"{name}.extxyz.gz", part)
    return folder


def compositions(structures):
    return {composition(atoms) for atoms in structures}


@pytest.mark.slow
def test_no_test_part_shares_a_composition_with_what_is_trained_on(folder):
    found = unite(folder)
    known = compositions([*found.training, *found.validation])
    assert found.tests.keys() == {source.name for source in SOURCES}
    for name, part in found.tests.items():
        assert part, name
        assert known.isdisjoint(compositions(part)), name
    assert compositions(found.training).isdisjoint(compositions(found.validation))
    named = read_structures(folder / "phonondb.extxyz.gz")
    assert len(found.tests["phonondb"]) == sum(atoms.info["split"] == "test" for atoms in named)
    assert len(found.tests["phonon-dfpt"]) == len(divide_set("phonon-dfpt", folder)[1])


@pytest.mark.slow
def test_a_crystal_of_both_sets_is_taken_once_from_phonondb(folder):
    first = read_structures(folder / "phonondb.extxyz.gz")
    second = read_structures(folder / "phonon-dfpt.extxyz.gz")
    others = {id(atoms) for atoms in without_crystals_of(first, second)}
    assert others.isdisjoint(map(id, second[:IN_BOTH]))
    new = [atoms for atoms in second if composition(atoms) not in compositions(first)]
    assert len(new) > 3
    assert others.issuperset(map(id, new))
    found = unite(folder)
    sources = [atoms.info["source"] for atoms in (*found.training, *found.validation)]
    assert len(set(sources)) == len(sources)
    assert any("phonon-dfpt" in name for name in sources)
    strained = {f"{folder / 'phonon-dfpt.extxyz.gz'}, frame {k}" for k in range(IN_BOTH)}
    assert strained.isdisjoint(sources)
    assert found.in_both > 0


def from_phonondb(structures):
    for atoms in structures:
        atoms.info["source"] = "phonondb.extxyz.gz, frame 0"
    return structures


def make(folder, *words):
    """Run the command on these sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIVAR_DATA", str(folder))
        patch.setattr(ship, "CONFIG", "test.py")
        patch.setattr(ship, "WEIGHTS", folder / "weights")
        patch.setattr(union, "VALIDATION_FRACTION", 0.2)
        patch.setattr("sys.argv", ["ship", "--members", str(MEMBERS), "--runs", str(folder / "runs"), *words])
        ship.main()


@pytest.fixture(scope="module")
def shipped(folder, cache_folder):
    """The folder in which the command has worked, from nothing."""
    (folder / "weights").mkdir()
    make(folder, "--epochs", "2", "--", "--model.interactions", "1")
    return folder


@pytest.fixture(scope="module")
def card(shipped):
    return (shipped / "weights" / "README.md").read_text()


@pytest.mark.slow  # trains a committee
def test_what_ships_is_what_was_trained(shipped):
    final = load(shipped / "weights" / "committee")
    assert final.members == MEMBERS
    training = read_structures(shipped / "runs" / "union" / "training.extxyz")
    assert final.metadata.statistics["structures"] == len(training)
    assert sum(final.metadata.domain.atoms.values()) == sum(map(len, training))
    assert len(final.metadata.features) == MEMBERS
    assert final.metadata.config.model.interactions == 1
    for seed in range(MEMBERS):
        run = load(shipped / "runs" / f"seed-{seed}")
        assert run.metadata.config.train.epochs == 2
        expected = run.weights["params"]["embedding"]
        np.testing.assert_array_equal(final.weights["params"]["embedding"][seed], expected)


@pytest.mark.slow
def test_the_uncertainty_is_of_the_validation_part(shipped):
    final = load(shipped / "weights" / "committee")
    validation = read_structures(shipped / "runs" / "union" / "validation.extxyz")
    errors = np.concatenate(final.predict(validation)) - np.concatenate([*map(labels_of, validation)])
    assert final.metadata.validation_mae == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    stated = json.loads((shipped / "weights" / "committee" / "calibration.json").read_text())
    assert stated["dielectric"]["scale"] == final.dielectric_calibration.scale > 0
    (_, (tensor, sigma)) = final.predict(validation[0], uncertainty=True, dielectric=True)
    assert np.linalg.eigvalsh(tensor).min() >= 1
    assert (sigma >= 0).all()


@pytest.mark.slow
def test_the_card_has_the_errors_on_each_test_part(shipped, card):
    final = load(shipped / "weights" / "committee")
    for name in ("phonondb", "phonon-dfpt", "mp-dielectric"):
        part = read_structures(shipped / "runs" / "union" / f"test-{name}.extxyz")
        labels = np.concatenate([*map(labels_of, part)])
        mean, *alone = (
            np.abs(np.concatenate(model.predict(part)) - labels).mean()
            for model in (final, *map(final.member, range(MEMBERS)))
        )
        row = re.search(rf"^\| {name} \| (\d+) \| (\d+) \| \*\*(.*?)\*\* \| (.*?) \|", card, re.MULTILINE)
        assert (int(row[1]), int(row[2])) == (len(part), len(labels))
        assert float(row[3]) == pytest.approx(mean, abs=6e-5)
        assert [*map(float, row[4].split(", "))] == pytest.approx(alone, abs=6e-5)
        if name == "mp-dielectric":
            assert f"| {name}, eps_inf |" not in card
            continue
        traces = [np.trace(final.predict(atoms, dielectric=True)[1]) for atoms in part]
        reference = [np.trace(atoms.info["epsilon_inf"]) for atoms in part]
        off = 100 * np.abs(np.array(traces) / reference - 1)
        row = re.search(rf"^\| {name} \| {len(part)} \| ([\d.]+) % \| ([\d.]+) % \|", card, re.MULTILINE)
        assert float(row[1]) == pytest.approx(np.median(off), abs=0.06)
        assert float(row[2]) == pytest.approx(off.mean(), abs=0.06)


@pytest.mark.slow
def test_finished_runs_are_taken_as_they_are(shipped, card):
    """Also with other settings on the command line, which are for members that are not there."""
    before = {path: path.stat().st_mtime_ns for path in (shipped / "runs").glob("seed-*/checkpoints/**/*")}
    make(shipped, "--epochs", "3")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (shipped / "weights" / "README.md").read_text() == card


@pytest.mark.slow
def test_the_card_alone_is_the_same_and_nothing_is_trained(shipped, card, monkeypatch):
    monkeypatch.setattr(ship, "train_member", None)
    path = shipped / "weights" / "README.md"
    path.write_text("")
    make(shipped, "--card-only", "--union", str(shipped / "runs" / "union"))
    assert path.read_text() == card


@pytest.mark.slow
def test_the_card_names_what_has_no_open_shells(shipped, card):
    part = read_structures(shipped / "runs" / "union" / "test-mp-dielectric.extxyz")
    closed = [atoms for atoms in part if not {"V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu"} & {*atoms.symbols}]
    assert f"| mp-dielectric without V to Cu | {len(closed)} | {sum(map(len, closed))} |" in card


@pytest.mark.slow
def test_runs_on_other_data_and_tests_that_were_trained_on_are_refused(shipped, tmp_path, complaint):
    other, made = tmp_path / "union", shipped / "runs" / "union"
    other.mkdir()
    for path in made.iterdir():
        (other / path.name).write_bytes(path.read_bytes())

    def refuse():
        return complaint(lambda words: make(shipped, *words), "--union", other)

    tested = read_structures(made / "training.extxyz")[:2]
    write_structures(other / "test-phonondb.extxyz", tested)
    assert f"{other / 'test-phonondb.extxyz'}, frame 0: trained on, too; write the union anew" in refuse()
    training = from_phonondb(read_structures(made / "training.extxyz"))
    write_structures(other / "training.extxyz", training[1:])
    message = refuse()
    assert message.startswith(
        f"{shipped / 'runs' / 'seed-0'}: was trained on {{'structures': {len(training)}"
    )
    assert message.endswith("name the folder that it was trained on with --union")


@pytest.mark.slow
def test_the_card_says_how_it_was_trained(shipped, card):
    assert "equivar train --config test.py --data UNION/training.extxyz" in card
    assert "--model.interactions 1 --model.dielectric True --train.epochs 2 --train.learning_rate" in card
    assert "--train.learning_rate 0.015 --train.optimizer muon --train.seed SEED" in card
    assert_no_absolute_path(shipped / "weights")
    for path in (shipped / "weights").rglob("*"):
        assert path.is_dir() or str(shipped).encode() not in path.read_bytes(), path


def check_sources(card):
    """Hold a card to the list of data: each set with its licence and use, and no other."""
    section = card.split("## Data and licence\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == [source.name for source in SOURCES]
    for (_, use, what, citation, licence), source in zip(rows, SOURCES, strict=True):
        assert (what, citation, licence) == (source.what, source.citation, source.licence)
        assert use == ("training and test" if source.is_trained_on else "test only")


@pytest.mark.slow
def test_the_card_names_the_sets_of_the_list_and_no_other(card):
    check_sources(card)


def test_only_what_may_be_trained_on_is():
    assert {"phonondb", "phonon-dfpt"} == TRAINED_ON
    for source in SOURCES:
        assert (source.licence == LICENCE) == source.is_trained_on
        assert source.is_trained_on == (LICENCE in source.citation)
        assert source.is_trained_on == fnmatch(f"{source.name}.extxyz.gz", ship.PATTERN)


def test_the_card_of_the_package_names_the_sets_of_the_list_and_no_other():
    check_sources((shipped_checkpoint().parent / "README.md").read_text())
    assert load().metadata.config.data.path == f"$EQUIVAR_DATA/{ship.PATTERN}"


def test_training_data_of_another_source_are_refused(tmp_path, folder):
    structures = read_structures(folder / "phonondb.extxyz.gz")[:3]
    write_structures(tmp_path / "good.extxyz", structures)
    ship.check_sources(tmp_path / "good.extxyz")
    strange = read_structures(folder / "mp-dielectric.extxyz.gz")[:1]
    write_structures(tmp_path / "bad.extxyz", [*structures, *strange])
    with pytest.raises(InputError, match="has structures of mp-dielectric"):
        ship.check_sources(tmp_path / "bad.extxyz")
    structures[0].info.pop("source")
    write_structures(tmp_path / "unknown.extxyz", structures)
    with pytest.raises(InputError, match="1 structures of unknown source"):
        ship.check_sources(tmp_path / "unknown.extxyz")


def test_settings_are_those_that_differ_from_the_config():
    config = load_config("bm3")
    assert describe_settings(config, "bm3.py") == ""
    changed = load_config("test")
    words = describe_settings(changed, "bm3.py").split()
    assert words[words.index("--model.channels") + 1] == "16"
    assert not any(word.startswith(("--data", "--train.seed")) for word in words)
