"""The electronic dielectric tensor: labels, symmetries, loss and the public call."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from helpers.examples import examples
from helpers.networks import SMALL, dense_batch, predict, random_params
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from equivar_jax import evaluate, train
from equivar_jax.config.schema import Config, TrainConfig
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample, collate
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.graph_table import cached_samples
from equivar_jax.graphs.packing import Budget
from equivar_jax.io import write_structures
from equivar_jax.network.model import Equivar, count_parameters
from equivar_jax.predict import Predictor, load
from equivar_jax.prediction.dielectric import dielectric_tensors, electronic_dielectric_tensor
from equivar_jax.storage.structure_table import cached_table
from equivar_jax.structures import epsilon_inf, with_born_effective_charges
from equivar_jax.training.losses import DielectricErrors, ErrorSums, dielectric_errors
from equivar_jax.training.optimizers import make_optimizer
from equivar_jax.training.steps import TrainState, make_steps
from equivar_jax.weights.checkpoint import Metadata

PLAIN = dataclasses.replace(SMALL, interactions=2)
HEAD = dataclasses.replace(PLAIN, dielectric=True)
SHAPE = {"nodes": 40, "edges": 2500, "neighbours": 80}  # holds what the symmetry tests join
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}
ELEMENTS = (3, 8, 12, 15, 22, 56)


@pytest.fixture
def predictor():
    """Random weights."""
    return Predictor(random_params(HEAD), Metadata(Config(model=HEAD), elements=ELEMENTS))


@functools.partial(jax.jit, static_argnums=0)
def both_readouts(config, params, graph):
    return Equivar(config).apply(params, graph, method="with_dielectric")


@pytest.fixture
def dielectric(precision):
    """Structures -> dielectric tensors, all in one batch of one compiled shape."""

    def tensors(*structures, **shape):
        graph = dense_batch(structures, dtype=precision, **(SHAPE | shape)).graph
        found = both_readouts(HEAD, random_params(HEAD, precision), graph)[1]
        assert np.isfinite(found).all()
        return np.asarray(found)[: len(structures)]

    return tensors


def crystal_of(seed):
    """Eight atoms in a skewed cell."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid([0, 0.5], [0, 0.5], [0, 0.5]), -1).reshape(-1, 3)
    cell = np.diag(rng.uniform(4.0, 6.0, 3)) + rng.uniform(-0.8, 0.8, (3, 3))
    atoms = Atoms(numbers=rng.choice([3, 8, 15, 22, 56], 8), scaled_positions=grid, cell=cell, pbc=True)
    atoms.positions += rng.uniform(-0.4, 0.4, (8, 3))
    return atoms


def assert_same(found, expected, dtype):
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())


# Labels.


def test_a_label_is_symmetrised_within_rounding_and_may_be_nine_numbers():
    tensor = np.array([[4.0, 0.1, 0.0], [0.1001, 5.0, 0.2], [0.0, 0.2, 6.0]])
    for stored in (tensor, tensor.ravel(), tensor.tolist()):
        found = epsilon_inf(Atoms("H", info={"epsilon_inf": stored}))
        np.testing.assert_allclose(found, (tensor + tensor.T) / 2, rtol=0, atol=1e-15)
    assert epsilon_inf(Atoms("H")) is None


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("metal", "not an array of numbers"),
        ([1.0, 2.0], "not 3x3 finite"),
        (np.diag([3.0, 3.0, np.nan]), "not 3x3 finite"),
        ([[3.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]], "not symmetric"),
        (np.diag([3.0, 3.0, 0.9]), "an eigenvalue 0.9, below 1"),
    ],
)
def test_a_broken_label_is_refused_with_its_place(stored, reason):
    with pytest.raises(InputError, match=f"file, frame 2: info.'epsilon_inf'. .*{reason}"):
        epsilon_inf(Atoms("H", info={"epsilon_inf": stored, "source": "file, frame 2"}))


def test_labels_go_through_tables_into_batches(tmp_path):
    tensor = np.diag([2.0, 3.0, 4.0])
    structures = [bulk("MgO", "rocksalt", a=4.2) for _ in range(3)]
    structures[0].info["epsilon_inf"] = tensor
    structures[1].info["epsilon_inf"] = -tensor  # broken: as if there were none
    table = cached_table(tmp_path / "structures", "k", lambda: structures)
    samples = cached_samples(tmp_path / "graphs", "k", table, 3.0)
    np.testing.assert_array_equal(samples.has_dielectric, [True, False, False])
    np.testing.assert_array_equal(samples.subset([2, 0]).has_dielectric, [False, True])
    batch = collate(samples.subset([2, 0]), Budget(8, 80, 0, 5))
    np.testing.assert_array_equal(batch.dielectric_mask, [False, True, False, False, False])
    np.testing.assert_array_equal(batch.dielectric[1], tensor)
    np.testing.assert_array_equal(batch.dielectric[[0, 2, 3, 4]], np.tile(np.eye(3), (4, 1, 1)))


# The readout.


def test_the_head_leaves_the_charges_as_they_are_and_costs_two_channels_and_a_bias():
    graph = dense_batch([Atoms("H")]).graph
    without, with_head = (jax.jit(Equivar(config).init)(jax.random.key(0), graph) for config in (PLAIN, HEAD))
    assert count_parameters(with_head) - count_parameters(without) == 2 * PLAIN.channels + 1
    for name, weights in without["params"].items():
        jax.tree.map(np.testing.assert_array_equal, weights, with_head["params"][name])


def test_orthogonal_operations_and_order_of_the_atoms(dielectric, precision):
    @given(seed=st.integers(0, 2**32 - 1))
    @examples(8)
    def check(seed):
        atoms, matrix = crystal_of(seed), ortho_group.rvs(3, random_state=seed)
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ matrix.T)
        turned.positions = atoms.positions @ matrix.T
        turned = turned[np.random.default_rng(seed).permutation(8)]
        expected, found = dielectric(atoms, turned)
        assert_same(found, matrix @ expected @ matrix.T, precision)

    check()


def test_the_tensor_is_symmetric_above_vacuum_and_anisotropic(dielectric, precision):
    found = np.concatenate([dielectric(crystal_of(k), crystal_of(k + 1)) for k in range(0, 10, 2)])
    assert_same(found, found.transpose(0, 2, 1), precision)
    eigenvalues = np.linalg.eigvalsh(found)
    assert eigenvalues.min() >= 1.0
    assert (np.ptp(eigenvalues, axis=1) > 0.01).all()


@pytest.mark.parametrize("matrix", [np.diag([2, 1, 3]), [[1, 1, 0], [0, 1, 2], [1, 0, 1]]])
def test_a_supercell_has_the_tensor_of_its_primitive_cell(dielectric, precision, matrix):
    displaced = bulk("MgO", "rocksalt", a=4.21)
    displaced.positions[1] += [0.1, -0.05, 0.2]
    several = make_supercell(displaced, matrix)
    assert len(several) > len(displaced)
    alone, large = dielectric(displaced, several)
    assert_same(large, alone, precision)
    assert np.ptp(np.linalg.eigvalsh(alone)) > 0.01


def test_a_cubic_crystal_is_isotropic(dielectric, precision):
    (found, _) = dielectric(bulk("MgO", "rocksalt", a=4.21), crystal_of(0))
    assert_same(found, found[0, 0] * np.eye(3), precision)


def test_padding_and_company_in_a_batch_change_nothing(dielectric, precision):
    atoms = crystal_of(5)
    together, _ = dielectric(atoms, crystal_of(6))
    (padded,) = dielectric(atoms)
    (barely_padded,) = dielectric(atoms, nodes=9)
    assert_same(together, padded, precision)
    assert_same(barely_padded, padded, precision)


def test_float32_agrees_with_float64(float64):
    structures = [crystal_of(seed) for seed in range(2)]
    params = random_params(HEAD)
    single, double = (
        both_readouts(
            HEAD,
            jax.tree.map(lambda leaf, kind=kind: jnp.asarray(leaf, kind), params),
            dense_batch(structures, dtype=kind, **SHAPE).graph,
        )[1]
        for kind in (np.float32, float64)
    )
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-5 * np.abs(double).max())


# Loss and errors.


def batch_with(labels, dtype=np.float32):
    """MgO cells in a batch, each with Born charges and with the dielectric label that is given."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            build_graph(bulk("MgO", "rocksalt", a=4.1 + 0.1 * k), 3.0),
            rng.normal(size=(2, 3, 3)),
            None if label is None else np.asarray(label, np.float64),
        )
        for k, label in enumerate(labels)
    ]
    return collate(samples, Budget(16, 400, 0, 6), dtype)


def test_errors_are_means_over_labelled_structures():
    reference = np.stack([np.diag([2.0, 3.0, 4.0]), np.eye(3), 10.0 * np.eye(3)]).astype(np.float32)
    difference = np.stack([np.diag([0.3, 0.0, 0.0]), 99 * np.ones((3, 3)), -np.eye(3)]).astype(np.float32)
    difference[0, 0, 1] = difference[0, 1, 0] = 0.6
    mask = np.array([True, False, True])
    sums = dielectric_errors(reference + difference, reference, mask)
    found = sums.summarise()
    assert found.structures == 2
    assert found.mae_diagonal == pytest.approx((0.1 + 1.0) / 2, rel=1e-5)
    assert found.rmse_diagonal == pytest.approx(np.sqrt((0.03 + 1.0) / 2), rel=1e-5)
    assert found.mae_isotropic == pytest.approx((0.1 + 1.0) / 2, rel=1e-5)
    assert found.rmse_isotropic == pytest.approx(np.sqrt((0.01 + 1.0) / 2), rel=1e-5)
    assert found.mape_isotropic == pytest.approx(100 * (0.1 / 3 + 0.1) / 2, rel=1e-5)
    assert float(sums.loss) == pytest.approx((1.5 / 9 + 3 / 30) / 2, rel=1e-5)
    parts = [dielectric_errors(reference + difference, reference, mask & (np.arange(3) == k)) for k in (0, 2)]
    both = DielectricErrors.zero() + parts[0] + parts[1]
    assert dataclasses.astuple(both.summarise()) == pytest.approx(dataclasses.astuple(found), rel=1e-5)
    assert np.isnan(DielectricErrors.zero().summarise().mae_isotropic)


def test_a_structure_without_label_adds_nothing_to_loss_or_gradient(float64):
    # Structures of other lattice constants, so that a wrong weight of the unlabelled ones would show.
    batch, params = batch_with([4.0 * np.eye(3), None, None], float64), random_params(HEAD, float64)

    def loss(params, labels):
        found = both_readouts(HEAD, params, batch.graph)[1]
        return dielectric_errors(found, labels, batch.dielectric_mask).loss

    values = jax.jit(jax.value_and_grad(loss))
    value, gradient = values(params, batch.dielectric)
    nonsense = np.where(batch.dielectric_mask[:, None, None], batch.dielectric, 1e30)
    other, same_gradient = values(params, nonsense)
    assert float(value) == float(other) > 0
    jax.tree.map(np.testing.assert_array_equal, gradient, same_gradient)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    alone = batch_with([4.0 * np.eye(3)], float64)
    _, found = both_readouts(HEAD, params, alone.graph)
    expected = dielectric_errors(found, alone.dielectric, alone.dielectric_mask).loss
    assert float(value) == pytest.approx(float(expected), rel=1e-12)


def test_a_batch_without_any_label_trains_the_charges_alone():
    batch, config = batch_with([None, None]), TrainConfig(weight_decay=0.0)
    optimizer = make_optimizer(config, optax.constant_schedule(1e-2))
    params = jax.tree.map(jnp.copy, random_params(HEAD))  # a step takes its arrays over
    state = TrainState(params, None, optimizer.init(params), ErrorSums.zero())
    before = jax.tree.map(np.asarray, params)["params"]
    after = make_steps(HEAD, config, optimizer).train(state, batch).params["params"]
    for name in ("dielectric_weight", "dielectric_bias"):
        np.testing.assert_array_equal(after[name], before[name])
    scalars = 0  # the only ones that rock salt has
    assert float(jnp.abs(after["lin1_weight"] - before["lin1_weight"])[scalars].min()) > 1e-3


def test_gradients_in_the_positions_are_finite():
    graph, params = dense_batch([crystal_of(0)]).graph, random_params(HEAD)

    @jax.jit
    @jax.grad
    def gradient_of_trace(vectors):
        moved = graph._replace(edges={"vectors": vectors})
        return jnp.trace(both_readouts(HEAD, params, moved)[1][0])

    gradient = gradient_of_trace(jnp.asarray(graph.edges["vectors"]))
    assert bool(jnp.isfinite(gradient).all())
    assert float(jnp.abs(gradient).max()) > 0


# From files to the public call.


def crystal_with_label(k):
    """Displaced rock salt whose dielectric tensor follows the lattice constant."""
    atoms = bulk("MgO", "rocksalt", a=3.8 + 0.1 * (k % 8))
    atoms.rattle(0.03, seed=k)
    atoms.info["epsilon_inf"] = (6.0 - 3.0 * (k % 8) / 7) * np.eye(3)
    return with_born_effective_charges(atoms, np.array([2.0, -2.0])[:, None, None] * np.eye(3))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training on a file in which some labels are missing and one is broken."""
    folder = tmp_path_factory.mktemp("dielectric")
    structures = [crystal_with_label(k) for k in range(32)]
    del structures[3].info["epsilon_inf"]
    structures[4].info["epsilon_inf"][0, 1] = 2.0
    write_structures(folder / "set.extxyz", structures)
    train.main(
        "--config test.py --model.dielectric True --model.interactions 1 "
        "--train.epochs 60 --train.batch_size 8 "
        f"--data.hygiene.enabled False --data.path {folder / 'set.extxyz'} "
        f"--run-dir {folder / 'run'}".split()
    )
    return folder


@pytest.mark.slow  # real training
def test_training_beats_the_mean_of_the_training_set(run):
    records = [json.loads(line) for line in (run / "run/metrics.jsonl").read_text().splitlines()]
    reached = records[-1]["validation_dielectric"]
    dataset = load_dataset(load(run / "run").metadata.config)
    (remark,) = (text for text in dataset.remarks if text.startswith("dielectric"))
    assert "left out 1, such as" in remark
    assert "frame 4: info['epsilon_inf'] is not symmetric" in remark
    isotropic = [
        np.array([np.trace(s.dielectric) / 3 for s in part if s.dielectric is not None])
        for part in (dataset.training, dataset.validation)
    ]
    assert sum(map(len, isotropic)) == 30
    assert reached["structures"] == len(isotropic[1])
    baseline = np.abs(isotropic[1] - isotropic[0].mean()).mean()
    assert reached["mae_isotropic"] < 0.5 * baseline


def test_evaluation_reports_what_the_public_call_gives(run, capsys):
    evaluate.main(["--checkpoint", str(run / "run"), "--data", str(run / "set.extxyz")])
    assert "Electronic dielectric tensor, 30 structures" in capsys.readouterr().out
    written = json.loads((run / "run/evaluation/evaluation.json").read_text())["dielectric"]
    model = load(run / "run")
    structures = [crystal_with_label(k) for k in range(32) if k not in (3, 4)]
    found = dielectric_tensors(model, structures)
    alone = electronic_dielectric_tensor(model, structures[7])
    np.testing.assert_allclose(alone, found[7], rtol=0, atol=1e-5 * np.abs(alone).max())
    labels = np.array([epsilon_inf(atoms) for atoms in structures])
    isotropic = np.trace(found - labels, axis1=1, axis2=2) / 3
    assert written["mae_isotropic"] == pytest.approx(np.abs(isotropic).mean(), rel=1e-3)
    assert written["structures"] == 30


def test_what_has_no_answer_is_refused_in_a_line(trained, predictor):
    with pytest.raises(InputError, match=r"no readout .*--model.dielectric True"):
        electronic_dielectric_tensor(load(trained.folder), bulk("CaO", "rocksalt", a=4.8))
    with pytest.raises(InputError, match="needs a crystal, periodic in three directions"):
        electronic_dielectric_tensor(predictor, Atoms("LiO", [[0, 0, 0], [0, 0, 1.6]]))
    with pytest.raises(InputError, match="never seen C, H; it knows Li O Mg"):
        electronic_dielectric_tensor(predictor, molecule("CH4", vacuum=3.0, pbc=True))
    assert electronic_dielectric_tensor(predictor, bulk("MgO", "rocksalt", a=4.21)).dtype == np.float64


def test_a_head_without_labels_to_learn_from_is_refused(tmp_path, labelled_file, complaint):
    options = ["--config", "test.py", "--model.dielectric", "True", "--run-dir", tmp_path / "run"]
    line = complaint(train.main, *options, "--data.path", labelled_file)
    assert "training part has no dielectric tensor in info['epsilon_inf']; give some, or train with" in line
    assert "--model.dielectric False" in line


def test_predictions_of_the_charges_do_not_need_the_head():
    atoms = crystal_of(2)
    params = random_params(HEAD)
    bare = {"params": {k: v for k, v in params["params"].items() if not k.startswith("dielectric")}}
    np.testing.assert_allclose(predict(HEAD, params, atoms), predict(PLAIN, bare, atoms), rtol=0, atol=1e-6)
