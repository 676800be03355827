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
    "q2r_constants": b"  1    1  2 10.0000000" + b"  0.0000000" * 5 + b"\n           1  'Al '    24590.76\n",
    "q_matrix_xml": b'<?xml version="1.0" encoding="UTF-8"?>\n<Root>\n  <GEOMETRY_INFO>\n',
    "born": b"14.4\n5 0 0 0 5 0 0 0 5\n2 0 0 0 2 0 0 0 2\n",
    "abinit_output": b".Version 9.6.2 of ABINIT \n  Effective charges, in cartesian coordinates,\n",
    "ddb": b"\n **** DERIVATIVE DATABASE ****\n+DDB, Version number    20100401\n",
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
    "q2r_constants": "a.fc",
    "q_matrix_xml": "a.dyn1.xml",
    "born": "BORN",
    "ddb": "a_DDB",
    "phonopy_yaml": "phonopy_params.yaml",
    "anaddb": "run_anaddb.nc",
    "ddb_netcdf": "run_DDB.nc",
    "abinit_output": "run.abo",
    "gpaw_charges": "borncharges-0.01.json",
    "elk_charges": "BEC_S01_A001_P1.OUT",
    "elk_part": "BEC_S01_A001_P2.OUT",
    "bare_structure": "POSCAR",
}
CONTENT = {
    **HEADS,
    "phonopy_yaml": b"phonopy:\n  version: 2.0\n",
    "anaddb": b"CDF\x02",
    "ddb_netcdf": b"CDF\x02",
    "gpaw_charges": b'{"Z_avv": [',
    "elk_charges": b" -1.244182068     : ip =    1\n",
    "elk_part": b" -1.244182068     : ip =    1\n",
    "bare_structure": b"MgO\n",
}
