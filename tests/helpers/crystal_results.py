"""Results of a crystal in the form of `results.json`: wurtzite GaN as a crystal of springs and dipoles."""

import copy
import functools

import numpy as np
from ase.build import bulk

from equivar_jax.response.optics.permittivity import (
    active_lines,
    ionic_contributions,
    longitudinal_modes,
    permittivity,
    reflectivity,
)
from equivar_jax.response.optics.spectra import line_absorption
from equivar_jax.response.phonons.gamma import (
    gamma_modes,
    infrared_intensities,
    mode_effective_charges,
    oscillator_strengths,
    principal_modes,
)
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of
from equivar_jax.response.phonons.propagation import Members
from equivar_jax.response.splitting.bands import band_path, band_structure
from equivar_jax.response.units import INVERSE_CM, TERAHERTZ

_PER_THZ = INVERSE_CM / TERAHERTZ
_ALONG, _ACROSS = 8.6, 0.9  # eV/Å²; the modes come out near the measured ones, 530 to 560 cm⁻¹
_EPSILON_INF = np.diag([5.35, 5.35, 5.54])
_CELLS = (2, 2, 1)
_LINEWIDTH = 10.0


@functools.cache
def _stable():
    atoms = bulk("GaN", "wurtzite", a=3.19, c=5.19, u=0.377)
    gallium = atoms.symbols == "Ga"
    charges = np.where(gallium, 1.0, -1.0)[:, None, None] * np.diag([2.60, 2.60, 2.76])
    volume = float(atoms.get_volume())
    modes = principal_modes(gamma_modes(atoms, nearest_neighbour_springs(atoms, _ALONG, _ACROSS)), charges)
    factors = np.array([0.97, 0.99, 1.0, 1.015, 1.025])[:, None, None]
    members = Members(factors[..., None] * charges, factors * _EPSILON_INF, 1.8, True)
    return {
        "formula": "GaN",
        "spacegroup": {"symbol": "P6_3mc", "number": 186},
        "ingredients": [
            {"name": "structure", "source": "GaN.cif, relaxed with sevenn"},
            {"name": "forces", "source": "the potential sevenn, 6 displacements in a supercell of 16 atoms"},
            {"name": "Born effective charges", "source": "the committee of 5 networks of the package"},
            {"name": "dielectric tensor", "source": "the committee of 5 networks of the package"},
        ],
        "structure": {
            "cell_A": atoms.cell.tolist(),
            "symbols": list(atoms.symbols),
            "scaled_positions": atoms.get_scaled_positions().tolist(),
            "masses_u": atoms.get_masses().tolist(),
            "volume_A3": volume,
        },
        "relaxation": {
            "steps": 14,
            "converged": True,
            "cell": True,
            "largest_force_before_eV_per_A": 0.214,
            "largest_force_eV_per_A": 0.00061,
            "largest_displacement_A": 0.0123,
            "volume_change_percent": 1.31,
            "lengths_before_A": [3.18, 3.18, 5.17],
            "lengths_A": atoms.cell.lengths().tolist(),
        },
        "supercell": {
            "matrix": np.diag(_CELLS).tolist(),
            "atoms": 4 * int(np.prod(_CELLS)),
            "displacements": 6,
            "distance_A": 0.01,
            "shortest_vector_A": 5.21,
        },
        "born_effective_charges_e": charges.tolist(),
        "born_effective_charges_std_e": members.sigma(lambda tensors, _: tensors).tolist(),
        **_tensors(modes, charges, volume, members),
        "modes": _modes(modes, charges, volume, members),
        "acoustic_left_out_per_cm": [-0.02, 0.01, 0.11],
        "longitudinal": _longitudinal(modes, charges, volume, members),
        **_bands(atoms, charges),
        **_spectra(modes, charges, volume),
        "imaginary": [],
        "warnings": [],
        "std": {"members": 5, "times_apart": members.factor},
        "made_by": {
            "equivar_jax": "0.1.0",
            "checkpoint": "shipped",
            "potential": "sevenn",
            "command": "equivar response crystal GaN.cif --potential sevenn",
            "settings": {
                "potential": "sevenn",
                "linewidth": _LINEWIDTH,
                "relax": True,
                "supercell": list(_CELLS),
            },
        },
    }


def _tensors(modes, charges, volume, members):
    def ionic(tensors, _):
        return ionic_contributions(modes, tensors, volume).sum(axis=0)

    return {
        "epsilon_inf": _EPSILON_INF.tolist(),
        "epsilon_inf_std": members.sigma(lambda _, tensor: tensor).tolist(),
        "epsilon_ionic": ionic(charges, None).tolist(),
        "epsilon_ionic_std": members.sigma(ionic).tolist(),
        "epsilon_0": (_EPSILON_INF + ionic(charges, None)).tolist(),
        "epsilon_0_std": members.sigma(lambda tensors, tensor: tensor + ionic(tensors, None)).tolist(),
    }


def _modes(modes, charges, volume, members):
    intensities = infrared_intensities(modes, charges)
    sigmas = members.sigma(lambda tensors, _: infrared_intensities(modes, tensors))
    dipoles, shares = mode_effective_charges(modes, charges), ionic_contributions(modes, charges, volume)
    alone = [np.sum(np.abs(modes.wavenumbers - value) < 0.1) == 1 for value in modes.wavenumbers]
    return [
        {
            "wavenumber_per_cm": float(modes.wavenumbers[m]),
            "frequency_THz": float(modes.wavenumbers[m] / _PER_THZ),
            "irrep": {(1, 1): "A1", (1, 0): "B1", (0, 1): "E1", (0, 0): "E2"}[alone[m], intensities[m] > 1],
            "infrared_active": bool(intensities[m] > 1),
            "intensity_km_per_mol": float(intensities[m]),
            "intensity_std_km_per_mol": float(sigmas[m]),
            "mode_effective_charge_e_per_sqrt_u": dipoles[m].tolist(),
            "contribution": shares[m].tolist(),
            "displacements_per_sqrt_u": (modes.eigenvectors[m] / np.sqrt(modes.masses)[:, None]).tolist(),
        }
        for m in range(len(dipoles))
    ]


def _longitudinal(modes, charges, volume, members):
    def lines(tensors, tensor, way):
        return active_lines(longitudinal_modes(modes, tensors, volume, tensor, way), tensors, way)

    return [
        {
            "direction": name,
            "vector": way.tolist(),
            "lines_per_cm": lines(charges, _EPSILON_INF, way).tolist(),
            "std_per_cm": members.sigma(
                lambda tensors, tensor, way=way: lines(tensors, tensor, way)
            ).tolist(),
        }
        for name, way in zip("xyz", np.eye(3), strict=True)
    ]


def _bands(atoms, charges):
    phonon = phonon_of(atoms, _CELLS, "P")
    phonon.force_constants = nearest_neighbour_springs(atoms_of(phonon.supercell), _ALONG, _ACROSS)
    path = band_path(phonon)
    found = band_structure(phonon, path, splitting=False)
    segments = [
        {
            "from": first.replace("G", "Γ"),
            "to": last.replace("G", "Γ"),
            "joined": bool(joined),
            "distance_per_A": np.asarray(distance)[::2].tolist(),
            "wavenumbers_per_cm": (np.asarray(frequencies)[::2] * _PER_THZ).tolist(),
        }
        for (first, last), joined, distance, frequencies in zip(
            path.ends, path.connections, found.distances, found.frequencies, strict=True
        )
    ]
    phonon.run_mesh([6, 6, 4], with_eigenvectors=True, is_mesh_symmetry=False)
    phonon.run_total_dos(sigma=0.15)
    phonon.run_projected_dos(sigma=0.15)
    phonon.run_thermal_properties(t_min=0, t_max=1000, t_step=20)
    projected = np.asarray(phonon.projected_dos.projected_dos) / _PER_THZ
    thermal = phonon.thermal_properties
    names = list(atoms.symbols)
    return {
        "bands": {"segments": segments},
        "dos": {
            "wavenumber_per_cm": (np.asarray(phonon.total_dos.frequency_points) * _PER_THZ).tolist(),
            "total": (np.asarray(phonon.total_dos.dos) / _PER_THZ).tolist(),
            "elements": {
                symbol: projected[[i for i, name in enumerate(names) if name == symbol]].sum(axis=0).tolist()
                for symbol in dict.fromkeys(names)
            },
        },
        "thermal": {
            "temperature_K": np.asarray(thermal.temperatures).tolist(),
            "free_energy_kJ_per_mol": np.asarray(thermal.free_energy).tolist(),
            "entropy_J_per_K_per_mol": np.asarray(thermal.entropy).tolist(),
            "heat_capacity_J_per_K_per_mol": np.asarray(thermal.heat_capacity).tolist(),
        },
    }


def _spectra(modes, charges, volume):
    wavenumbers = np.arange(0.0, 950.0, 1.0)
    function = permittivity(modes, charges, volume, _EPSILON_INF, wavenumbers, _LINEWIDTH)
    diagonal = {axis: function[:, k, k] for k, axis in enumerate("xyz")}
    strengths = oscillator_strengths(modes, charges)
    absorption = line_absorption(wavenumbers, modes.wavenumbers, strengths, volume, 10.0)
    return {
        "dielectric_function": {
            "linewidth_per_cm": _LINEWIDTH,
            "wavenumber_per_cm": wavenumbers.tolist(),
            "real": {axis: values.real.tolist() for axis, values in diagonal.items()},
            "imaginary": {axis: values.imag.tolist() for axis, values in diagonal.items()},
            "reflectivity": {axis: reflectivity(values).tolist() for axis, values in diagonal.items()},
        },
        "infrared": {
            "resolution_per_cm": 10.0,
            "wavenumber_per_cm": wavenumbers.tolist(),
            "absorption_per_cm": absorption.tolist(),
        },
    }


def stable_results():
    """Results with everything that there can be."""
    return copy.deepcopy(_stable())


def unstable_results():
    """Results of a structure with an imaginary mode, without a committee, and with warnings."""
    results = stable_results()
    soft = {"wavenumber_per_cm": -75.2, "frequency_THz": -75.2 / _PER_THZ}
    results["modes"][0] |= soft
    for mode in results["modes"]:
        mode |= {"contribution": None, "intensity_std_km_per_mol": None, "irrep": None}
    for way in results["longitudinal"]:
        way["std_per_cm"] = None
    names = ["epsilon_0", "epsilon_ionic", "epsilon_0_std", "epsilon_ionic_std", "epsilon_inf_std", "std"]
    names += ["born_effective_charges_std_e", "dielectric_function", "infrared", "thermal", "relaxation"]
    results |= dict.fromkeys(names)
    for segment in results["bands"]["segments"]:
        for values in segment["wavenumbers_per_cm"]:
            values[0] -= 110.0
    results["imaginary"] = [
        {
            "where": where,
            "wavenumber_per_cm": value,
            "pattern": "N moves along z against Ga",
            "meaning": "a polar instability: the energy falls with a spontaneous polarisation",
        }
        for where, value in (("Γ", -75.2), ("(0.5 0 0)", -12.4))
    ]
    results["warnings"] = ["Ga is far from what the networks have learnt; expect larger errors than ±"]
    return results
