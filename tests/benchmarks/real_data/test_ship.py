"""How the weights of the package are made, with a tiny network and few structures."""

import numpy as np
import pytest

from benchmarks.real_data import ship
from equivar_jax import load
from equivar_jax.datasets import demonstration_set
from equivar_jax.io import write_structures
from equivar_jax.structures import labels_of

MEMBERS = 2
STRUCTURES = 20

pytestmark = [
    pytest.mark.slow,  # trains committees
    pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning"),  # on few structures
]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, cache_folder):
    """What the command makes: the folder, and what the card is told."""
    folder, told = tmp_path_factory.mktemp("ship"), []
    crystals = demonstration_set(perovskites=STRUCTURES, li3po4=0, zro2=0, seed=1)
    for name, part in (("phonon-dfpt", crystals[4:]), ("mp-dielectric", crystals[:4])):
        write_structures(folder / f"{name}.extxyz.gz", part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIVAR_DATA", str(folder))
        patch.setattr(ship, "CONFIG", "test.py")
        patch.setattr(ship, "EPOCHS", 2)
        patch.setattr(ship, "WEIGHTS", folder / "weights")
        patch.setattr(ship, "write_card", lambda *facts: told.append(facts))
        patch.setattr("sys.argv", ["ship", "--members", str(MEMBERS), "--runs", str(folder / "runs")])
        ship.main()
    return folder, told


def test_the_packaged_weights_have_seen_everything(shipped):
    folder, _ = shipped
    final, first = (load(folder / name) for name in ("weights/committee", "runs/seed-0"))
    assert final.members == MEMBERS
    assert (final.metadata.epoch, final.metadata.config.train.keep) == (2, "last")
    assert final.metadata.statistics["structures"] == STRUCTURES
    assert sum(final.metadata.domain.atoms.values()) == final.metadata.statistics["atoms"]
    assert first.metadata.statistics["structures"] < STRUCTURES
    for seed in range(MEMBERS):
        refit = load(folder / "runs" / f"refit-{seed}")
        np.testing.assert_array_equal(
            final.weights["params"]["embedding"][seed], refit.weights["params"]["embedding"]
        )


def test_errors_and_uncertainties_are_of_what_was_held_out(shipped):
    folder, ((first, held_out, alone, final, counts, path),) = shipped
    assert len(held_out) + load(folder / "runs/seed-0").metadata.statistics["structures"] == STRUCTURES
    predicted = np.concatenate(first.predictor.predict(held_out))
    labels = np.concatenate([labels_of(atoms) for atoms in held_out])
    assert final.metadata.validation_mae == pytest.approx(np.abs(predicted - labels).mean(), rel=1e-4)
    assert final.metadata.calibration == first.predictor.calibration
    assert final.metadata.domain.largest_sigma == first.predictor.metadata.domain.largest_sigma
    assert len(alone) == MEMBERS
    assert counts == {"refused": 0, "not_counted": 0}
    assert path == folder / "weights" / "README.md"


def test_nothing_says_where_the_data_lay(shipped):
    folder, _ = shipped
    for path in (folder / "weights").rglob("*"):
        if path.is_file():
            assert str(folder).encode() not in path.read_bytes(), path
