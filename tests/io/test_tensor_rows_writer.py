import numpy as np
import pytest
from ase import Atoms
from helpers.dipole import crystal_and_tensors

from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.structures import with_born_effective_charges

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])
FIELD = np.array([0.3, -0.2, 0.7])


@pytest.fixture
def triclinic():
    atoms, tensors = crystal_and_tensors()
    atoms.info["epsilon_inf"] = EPSILON
    return with_born_effective_charges(atoms, tensors - tensors.mean(axis=0))


def tensors_of(atoms) -> np.ndarray:
    return atoms.calc.results["born_effective_charges"]


def refusal(path, structures) -> str:
    with pytest.raises(InputError) as caught:
        write_structures(path, structures)
    assert "\n" not in str(caught.value)
    assert not list(path.parent.iterdir())
    return str(caught.value)


def test_ipi_reads_the_same_bits_and_computes_the_forces(tmp_path, triclinic):
    pytest.importorskip("ipi")
    from ipi.inputs.motion.driven_dynamics import InputBEC
    from ipi.utils.io.inputs.io_xml import xml_parse_string

    path = tmp_path / "BEC.txt"
    write_structures(path, triclinic)
    reader = InputBEC()
    ((_, node),) = xml_parse_string(f'<bec mode="file"> {path} </bec>').fields
    reader.parse(xml=node)
    read = np.asarray(reader.fetch().bec)
    assert read.shape == (15, 3)
    # i-PI's forces in a field are read @ E; ours are sum_a E_a Z[i, a, b].
    expected = np.einsum("a,iab->ib", FIELD, tensors_of(triclinic))
    np.testing.assert_allclose((read @ FIELD).reshape(5, 3), expected, atol=1e-15)
    assert np.array_equal(read.reshape(5, 3, 3).transpose(0, 2, 1), tensors_of(triclinic))


@pytest.mark.parametrize("name", ["BEC", "BEC.txt", "bec.txt", "run.bec"])
def test_bec_has_three_rows_of_displacements_an_atom(tmp_path, triclinic, name):
    triclinic.pbc = False  # a molecule has tensors, too
    write_structures(tmp_path / name, triclinic)
    rows = np.loadtxt(tmp_path / name)
    assert np.array_equal(rows, tensors_of(triclinic).transpose(0, 2, 1).reshape(15, 3))


@pytest.mark.parametrize("name", ["infile.lotosplitting", "BORNINFO"])
def test_epsilon_comes_first_and_then_three_rows_of_fields_an_atom(tmp_path, triclinic, name):
    write_structures(tmp_path / name, triclinic)
    rows = np.loadtxt(tmp_path / name)
    assert rows.shape == (18, 3)
    np.testing.assert_allclose(rows[:3], EPSILON, atol=1e-12)
    # The documented matrix: row of the field, column of the displacement; so the row is contracted with q.
    np.testing.assert_allclose(rows[3:].reshape(5, 3, 3), tensors_of(triclinic), atol=1e-12)


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2]], ids=["right-handed", "left-handed"])
def test_alamode_reads_the_primitive_cell_only(tmp_path, triclinic, order):
    double = triclinic.repeat((2, 1, 1))
    double.set_cell(double.cell.array[order])
    double.info = dict(triclinic.info)
    double = with_born_effective_charges(double, np.tile(tensors_of(triclinic), (2, 1, 1)))
    message = refusal(tmp_path / "BORNINFO", double)
    assert "10 atoms, and the primitive cell, whose tensors ALAMODE reads, has 5" in message
    write_structures(tmp_path / "infile.lotosplitting", double)
    assert len(np.loadtxt(tmp_path / "infile.lotosplitting")) == 33


@pytest.mark.parametrize("name", ["infile.lotosplitting", "BORNINFO", "CONTROL", "BORN"])
def test_without_dielectric_tensor_the_way_to_it_is_named(tmp_path, triclinic, name):
    del triclinic.info["epsilon_inf"]
    message = refusal(tmp_path / name, triclinic)
    assert f"{name} needs the dielectric tensor" in message
    assert "equivar response born" in message


@pytest.mark.parametrize("name", ["infile.lotosplitting", "BORNINFO", "CONTROL", "BEC"])
def test_one_labelled_structure_is_wanted(tmp_path, triclinic, name):
    assert "not 2" in refusal(tmp_path / name, [triclinic, triclinic])
    bare = Atoms(triclinic)
    bare.calc = None
    assert "no Born effective charges" in refusal(tmp_path / name, bare)
    if name != "BEC":
        triclinic.pbc = [True, True, False]
        assert "not periodic" in refusal(
            tmp_path / name, with_born_effective_charges(triclinic, tensors_of(triclinic))
        )
