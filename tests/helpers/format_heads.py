"""How files of each format begin, and what they are called."""

# How files of each format begin.
HEADS = {
    "extxyz": b'2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\n',
    "trajectory": b"- of UlmASE-Trajectory  ",
    "database": b"SQLite format 3\x00",
    "vasprun": b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n',
    "outcar": b" vasp.6.4.2 20Jul23 complex\n\n executed on LinuxIFC date 2024.01.01\n",
    "ph_output": b"\n     Program PHONON v.7.2 starts on  1Jan2024 at 10:00:00\n",
    "dynamical_matrix": b"Dynamical matrix file\n\n  2    2   2  10.0\n",
    "born": b"14.4\n5 0 0 0 5 0 0 0 5\n2 0 0 0 2 0 0 0 2\n",
    "ddb": b"\n **** DERIVATIVE DATABASE ****\n+DDB, Version number    20100401\n",
    "castep": b" |      CCC  A  A  SSS  |\n | Welcome to Academic Release CASTEP version 24.1 |\n",
    "cp2k": b" DBCSR| CPU Multiplication driver\n CP2K| version string:  CP2K version 2023.1\n",
    "crystal_output": b" ****\n *                 CRYSTAL17                   *\n",
}
# Those that have a name of their own as well, or need one.
NAMES = {
    "extxyz": "a.extxyz",
    "trajectory": "a.traj",
    "database": "a.db",
    "vasprun": "vasprun.xml",
    "outcar": "OUTCAR",
    "ph_output": "ph.out",
    "dynamical_matrix": "a.dyn1",
    "born": "BORN",
    "ddb": "a_DDB",
    "castep": "seed.castep",
    "cp2k": "cp2k.out",
    "crystal_output": "crystal.out",
    "vaspout": "vaspout.h5",
    "phonopy_yaml": "phonopy_params.yaml",
    "anaddb": "run_anaddb.nc",
    "bare_structure": "POSCAR",
}
CONTENT = {
    **HEADS,
    "phonopy_yaml": b"phonopy:\n  version: 2.0\n",
    "anaddb": b"CDF\x02",
    "vaspout": b"\x89HDF\r\n\x1a\n",
    "bare_structure": b"MgO\n",
}
