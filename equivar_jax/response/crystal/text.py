"""The numbers of a crystal's response as a text for the terminal."""

from typing import Any

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

_NAMED = 6
"""More unstable levels than this are counted, not named."""


def describe(results: dict[str, Any]) -> str:
    """Format the results: modes, longitudinal modes, dielectric tensors, what is unstable, and the sources.

    Args:
        results: What goes to `results.json`.
    """
    group = results["spacegroup"]
    lines = [f"{results['formula']}, {group['symbol']} ({group['number']})"]
    lines += [f"{item['name'] + ':':24s}{item['source']}" for item in results["ingredients"]]
    lines.append("")
    lines.append(f"{'mode':>4s} {'TO (cm^-1)':>11s}  {'irrep':6s} {'IR (km/mol)':>12s}")
    for number, mode in enumerate(results["modes"], start=1):
        intensity = f"{mode['intensity_km_per_mol']:12.2f}{_plus_minus(mode['intensity_std_km_per_mol'], 2)}"
        lines.append(
            f"{number:4d} {mode['wavenumber_per_cm']:11.2f}  {mode['irrep'] or '-':6s} "
            f"{intensity if mode['infrared_active'] else '           -'}"
        )
    for found in results["longitudinal"]:
        values, deviations = found["lines_per_cm"], found["std_per_cm"] or [None] * len(found["lines_per_cm"])
        text = ", ".join(
            f"{value:.2f}{_plus_minus(deviation, 2)}"
            for value, deviation in zip(values, deviations, strict=True)
        )
        lines.append(f"LO along {found['direction']}: {text or 'none'} cm^-1")
    for name in ("epsilon_inf", "epsilon_ionic", "epsilon_0"):
        lines += _tensor_lines(name, results[name], results[f"{name}_std"])
    lines += _unstable_lines(results["imaginary"])
    lines += [f"warning: {remark}" for remark in results["warnings"]]
    if results["std"] is not None:
        lines.append(
            f"±: standard deviation over the {results['std']['members']} members of the committee, "
            f"{results['std']['times_apart']:.3g} times as far apart by its calibration"
        )
    return "\n".join(lines)


def _unstable_lines(modes: list[dict[str, Any]]) -> list[str]:
    """Say what is unstable, the softest first, and what it means; more than a few are counted."""
    lines = []
    for mode in modes[:_NAMED]:
        times = f", {mode['degeneracy']}-fold" if mode["degeneracy"] > 1 else ""
        star = f" and {mode['wave_vectors'] - 1} equal wave vectors" if mode["wave_vectors"] > 1 else ""
        lines.append(
            f"UNSTABLE at {mode['where']}{star}: {-mode['wavenumber_per_cm']:.1f}i cm^-1{times}, "
            f"{mode['pattern']}"
        )
    if len(modes) > _NAMED:
        lines.append(f"UNSTABLE: {len(modes) - _NAMED} more levels, in results.json")
    return lines + [f"  that is, {meaning}" for meaning in dict.fromkeys(mode["meaning"] for mode in modes)]


def _tensor_lines(name: str, tensor: list | None, deviation: list | None) -> list[str]:
    """Format the six components of a symmetric tensor."""
    if tensor is None:
        return [f"{name:14s} not defined: the crystal is unstable"]
    lines = [f"{name:14s} xx yy zz yz xz xy: {_six(tensor)}"]
    if deviation is not None:
        lines.append(f"{'±':>14s}                    {_six(deviation)}")
    return lines


def _six(tensor: list) -> str:
    """Format a symmetric tensor in Voigt's order."""
    return " ".join(f"{value:z9.3f}" for value in full_3x3_to_voigt_6_stress(np.asarray(tensor)))


def _plus_minus(deviation: float | None, digits: int) -> str:
    """Format a standard deviation, if there is one."""
    return "" if deviation is None else f" ± {deviation:.{digits}f}"
