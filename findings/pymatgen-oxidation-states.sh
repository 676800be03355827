#!/usr/bin/env bash
# pymatgen-core 2026.10.16 finds no oxidation states for chlorates and iodates, and gives hydrogen +1/2 in LiBH4.
#
# Version: pymatgen-core 2026.10.16 from PyPI; Python 3.11.
#
# Input: Composition(formula).oxi_state_guesses() with its defaults, for NaClO3, KClO4, RbIO4, LiBH4, ZrS3, HfS3.
#
# Expected: Cl +5 and +7, I +7; Li +1, B +3, H -1; the same states for ZrS3 and HfS3, which have one structure.
#
# Seen: an empty tuple for the first three, since the states found in the ICSD, which are the default, have -1 alone
# for Cl, and no +7 for I; for LiBH4 the first guess is B -3 and H +0.5; Zr is +2 in ZrS3, Hf +4 in HfS3.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pymatgen-core==2026.10.16
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

from pymatgen.core import Composition, Element

guesses = {name: Composition(name).oxi_state_guesses() for name in ("NaClO3", "KClO4", "RbIO4", "LiBH4", "ZrS3", "HfS3")}
for name, found in guesses.items():
    print(name, found[0] if found else "no guess")
states = Element("Cl").icsd_oxidation_states
print("Cl in the ICSD's list:", states, "; common:", Element("Cl").common_oxidation_states)
as_seen = (
    not any(guesses[name] for name in ("NaClO3", "KClO4", "RbIO4"))
    and guesses["LiBH4"][0] == {"Li": 1.0, "B": -3.0, "H": 0.5}
    and guesses["ZrS3"][0]["Zr"] == 2.0
    and guesses["HfS3"][0]["Hf"] == 4.0
)
sys.exit(0 if as_seen else 1)
PYTHON
