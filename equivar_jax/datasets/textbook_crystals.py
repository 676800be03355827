"""The data of `textbook`: well-known crystals and their published Born effective charges, as a plain table.

The entry of a crystal begins at the margin with these fields: name; prototype; space group number; lattice
parameters in Å (cubic a; tetragonal, trigonal and hexagonal a c in hexagonal axes; monoclinic a b c, and beta
in degrees); one atom of each orbit with its fractional coordinates, in the first setting of ase.spacegroup;
source of the structure. Lines indented once hold charges: a key of `CITATIONS`, with a question mark if the
numbers come from memory and could not be confirmed; then, for each atom, its label, @ and its number, and
pairs of a component, [field, displacement], and its value in e. Lines indented twice continue the line above.
Cartesian axes: x along a, z along c (monoclinic: x along a, y along b).

Lattice parameters and coordinates were written from memory of the sources named; those of corundum were read
in the Crystallography Open Database, entry 1000032. For crystals with a value of Petretto 2018, the lattice
parameters and the shortest distance are within 2 % of those relaxed there.
"""

TABLE = """
MgO; rock salt; 225; 4.2112; Mg 0 0 0, O 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Mg @0 trace/3 1.986; O @4 trace/3 -1.986
    phonopy examples; Mg @0 trace/3 1.972; O @4 trace/3 -1.972
CaO; rock salt; 225; 4.8105; Ca 0 0 0, O 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Ca @0 trace/3 2.363; O @4 trace/3 -2.363
BaO; rock salt; 225; 5.539; Ba 0 0 0, O 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Ba @0 trace/3 2.774; O @4 trace/3 -2.774
LiF; rock salt; 225; 4.0270; Li 0 0 0, F 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Li @0 trace/3 1.049; F @4 trace/3 -1.049
NaF; rock salt; 225; 4.634; Na 0 0 0, F 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Na @0 trace/3 1.013; F @4 trace/3 -1.013
NaCl; rock salt; 225; 5.6402; Na 0 0 0, Cl 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Na @0 trace/3 1.094; Cl @4 trace/3 -1.094
    phonopy examples; Na @0 trace/3 1.087; Cl @4 trace/3 -1.087
KCl; rock salt; 225; 6.2929; K 0 0 0, Cl 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; K @0 trace/3 1.124; Cl @4 trace/3 -1.124
KBr; rock salt; 225; 6.600; K 0 0 0, Br 1/2 1/2 1/2; Wyckoff, Crystal Structures (1963)
    Petretto 2018; K @0 trace/3 1.124; Br @4 trace/3 -1.124
GaAs; zincblende; 216; 5.6533; Ga 0 0 0, As 1/4 1/4 1/4; Landolt-Börnstein III/17a (1982)
    Spencer 1994; Ga @0 trace/3 2.18; As @4 trace/3 -2.18
    Petretto 2018; Ga @0 trace/3 2.246; As @4 trace/3 -2.246
    Giannozzi 1991?; Ga @0 trace/3 2.07; As @4 trace/3 -2.07
AlAs; zincblende; 216; 5.6611; Al 0 0 0, As 1/4 1/4 1/4; Landolt-Börnstein III/17a (1982)
    Spencer 1994; Al @0 trace/3 2.20; As @4 trace/3 -2.20
    Petretto 2018; Al @0 trace/3 2.140; As @4 trace/3 -2.140
    Giannozzi 1991?; Al @0 trace/3 2.17; As @4 trace/3 -2.17
AlP; zincblende; 216; 5.4635; Al 0 0 0, P 1/4 1/4 1/4; Landolt-Börnstein III/17a (1982)
    Petretto 2018; Al @0 trace/3 2.219; P @4 trace/3 -2.219
InP; zincblende; 216; 5.8687; In 0 0 0, P 1/4 1/4 1/4; Landolt-Börnstein III/17a (1982)
    Petretto 2018; In @0 trace/3 2.599; P @4 trace/3 -2.599
BN; zincblende; 216; 3.6157; B 0 0 0, N 1/4 1/4 1/4; Landolt-Börnstein III/17a (1982)
    Petretto 2018; B @0 trace/3 1.898; N @4 trace/3 -1.898
BP; zincblende; 216; 4.538; B 0 0 0, P 1/4 1/4 1/4; Landolt-Börnstein III/17a (1982)
    Petretto 2018; B @0 trace/3 -0.558; P @4 trace/3 0.558
3C-SiC; zincblende; 216; 4.3596; Si 0 0 0, C 1/4 1/4 1/4; Landolt-Börnstein III/17a (1982)
    Petretto 2018; Si @0 trace/3 2.707; C @4 trace/3 -2.707
zincblende GaN; zincblende; 216; 4.50; Ga 0 0 0, N 1/4 1/4 1/4; Lei et al., J. Appl. Phys. 71, 4933 (1992)
    Petretto 2018; Ga @0 trace/3 2.676; N @4 trace/3 -2.676
ZnS; zincblende; 216; 5.4102; Zn 0 0 0, S 1/4 1/4 1/4; Landolt-Börnstein III/17b (1982)
    Petretto 2018; Zn @0 trace/3 1.956; S @4 trace/3 -1.956
CdTe; zincblende; 216; 6.482; Cd 0 0 0, Te 1/4 1/4 1/4; Landolt-Börnstein III/17b (1982)
    Petretto 2018; Cd @0 trace/3 2.244; Te @4 trace/3 -2.244
AlN; wurtzite; 186; 3.110 4.980; Al 1/3 2/3 0, N 1/3 2/3 0.3821;
        Schulz and Thiemann, Solid State Commun. 23, 815 (1977)
    Petretto 2018; Al @0 xx 2.502 zz 2.666; N @2 xx -2.502 zz -2.666
    phono3py examples; Al @0 xx 2.513 zz 2.674; N @2 xx -2.513 zz -2.674
    Bernardini 1997?; Al @0 zz 2.70
GaN; wurtzite; 186; 3.190 5.189; Ga 1/3 2/3 0, N 1/3 2/3 0.377;
        Schulz and Thiemann, Solid State Commun. 23, 815 (1977)
    Petretto 2018; Ga @0 xx 2.630 zz 2.761; N @2 xx -2.630 zz -2.761
    Bernardini 1997?; Ga @0 zz 2.72
ZnO; wurtzite; 186; 3.2495 5.2069; Zn 1/3 2/3 0, O 1/3 2/3 0.3826;
        Abrahams and Bernstein, Acta Cryst. B 25, 1233 (1969)
    Petretto 2018; Zn @0 xx 2.126 zz 2.148; O @2 xx -2.126 zz -2.148
    ALAMODE examples; Zn @0 xx 2.14 zz 2.17
BeO; wurtzite; 186; 2.698 4.377; Be 1/3 2/3 0, O 1/3 2/3 0.378;
        Hazen and Finger, J. Appl. Phys. 59, 3728 (1986)
    Petretto 2018; Be @0 xx 1.791 zz 1.853; O @2 xx -1.791 zz -1.853
2H-SiC; wurtzite; 186; 3.0763 5.0480; Si 1/3 2/3 0, C 1/3 2/3 0.376;
        Schulz and Thiemann, Solid State Commun. 32, 783 (1979)
    Petretto 2018; Si @0 xx 2.668 zz 2.865; C @2 xx -2.668 zz -2.865
CdS; wurtzite; 186; 4.137 6.716; Cd 1/3 2/3 0, S 1/3 2/3 0.377; Landolt-Börnstein III/17b (1982)
    Petretto 2018; Cd @0 xx 2.117 zz 2.190; S @2 xx -2.117 zz -2.190
CaF2; fluorite; 225; 5.463; Ca 0 0 0, F 1/4 1/4 1/4; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Ca @0 trace/3 2.375; F @4 trace/3 -1.188
BaF2; fluorite; 225; 6.200; Ba 0 0 0, F 1/4 1/4 1/4; Wyckoff, Crystal Structures (1963)
    Petretto 2018; Ba @0 trace/3 2.601; F @4 trace/3 -1.300
CeO2; fluorite; 225; 5.411; Ce 0 0 0, O 1/4 1/4 1/4; Wyckoff, Crystal Structures (1963)
    Materials Project; Ce @0 trace/3 5.78
cubic ZrO2; fluorite; 225; 5.09; Zr 0 0 0, O 1/4 1/4 1/4;
        Aldebert and Traverse, J. Am. Ceram. Soc. 68, 34 (1985)
    Petretto 2018; Zr @0 trace/3 5.748; O @4 trace/3 -2.874
tetragonal ZrO2; tetragonal zirconia; 137; 3.596 5.184; Zr 0 0 0, O 0 1/2 0.2046;
        Howard et al., Acta Cryst. B 44, 116 (1988)
    Petretto 2018; Zr @0 xx 5.764 zz 4.969; O towards its near Zr @2 yy -3.646;
        O across @2 xx -2.118 zz -2.484
monoclinic ZrO2; baddeleyite; 14; 5.1505 5.2116 5.3173 99.230;
        Zr 0.2754 0.0395 0.2083, O 0.0700 0.3317 0.3447, O 0.4496 0.7569 0.4792;
        Howard et al., Acta Cryst. B 44, 116 (1988)
    Petretto 2018; Zr @0 xx 5.517 yy 5.524 zz 4.910; O with three Zr @4 xx -3.056 yy -2.725 zz -2.302;
        O with four Zr @8 xx -2.461 yy -2.799 zz -2.608
rutile TiO2; rutile; 136; 4.5937 2.9587; Ti 0 0 0, O 0.3048 0.3048 0;
        Abrahams and Bernstein, J. Chem. Phys. 55, 3206 (1971)
    Petretto 2018; Ti @0 xx 6.244 xy 0.997 zz 7.637; O @2 xx -3.122 xy -1.780 zz -3.818
    Lee 1994?; Ti @0 xx 6.36 xy 1.00 zz 7.52; O @2 xx -3.18 xy -1.81 zz -3.76
SnO2; rutile; 136; 4.7374 3.1864; Sn 0 0 0, O 0.3056 0.3056 0; Bolzan et al., Acta Cryst. B 53, 373 (1997)
    Petretto 2018; Sn @0 xx 4.156 xy 0.508 zz 4.572; O @2 xx -2.078 xy -0.770 zz -2.286
    phonopy examples; Sn @0 xx 4.092 zz 4.485; O @2 xx -2.046 zz -2.242
MgF2; rutile; 136; 4.621 3.050; Mg 0 0 0, F 0.303 0.303 0; Baur, Acta Cryst. B 32, 2200 (1976)
    Petretto 2018; Mg @0 xx 1.983 xy 0.046 zz 2.081; F @2 xx -0.991 xy -0.215 zz -1.040
stishovite SiO2; rutile; 136; 4.1772 2.6651; Si 0 0 0, O 0.3062 0.3062 0;
        Sinclair and Ringwood, Nature 272, 714 (1978)
    Petretto 2018; Si @0 xx 3.799 xy 0.371 zz 4.048; O @2 xx -1.899 xy -0.573 zz -2.024
anatase TiO2; anatase; 141; 3.7842 9.5146; Ti 0 0 0, O 0 0 0.2081;
        Horn et al., Z. Kristallogr. 136, 273 (1972)
    phonopy examples; Ti @0 xx 6.664 zz 5.790; O along its bent Ti–O–Ti @4 yy -5.544;
        O across @4 xx -1.120 zz -2.895
alpha-quartz SiO2; quartz; 154; 4.9160 5.4054; Si 0.4697 0 2/3, O 0.4135 0.2669 0.7858;
        Levien et al., Am. Mineral. 65, 920 (1980)
    Petretto 2018; Si @0 xx 2.984 yy 3.661 zz 3.438; O @3 trace/3 -1.680 zz -1.719
    Gonze 1992?; Si @0 xx 3.016 yy 3.633 zz 3.453; O @3 trace/3 -1.684 zz -1.726
corundum Al2O3; corundum; 167; 4.7605 12.9956; Al 0 0 0.35216, O 0.30668 0 1/4;
        Lutterotti and Scardi, J. Appl. Cryst. 23, 246 (1990)
    phonopy examples; Al @0 xx 2.960 zz 2.926; O @12 xx -2.073 yy -1.874 zz -1.951
LiNbO3; lithium niobate; 161; 5.1483 13.8631; Li 0 0 0.2829, Nb 0 0 0, O 0.0492 0.3446 0.0647;
        Abrahams et al., J. Phys. Chem. Solids 27, 997 (1966)
    Petretto 2018; Li @0 xx 1.203 zz 1.029; Nb @6 xx 7.267 zz 6.735; O @12 trace/3 -2.745 zz -2.588
cubic WO3; ReO3; 221; 3.78; W 1/2 1/2 1/2, O 1/2 1/2 0;
        near the pseudo-cubic cell of Loopstra and Rietveld, Acta Cryst. B 25, 1420 (1969)
    Detraux 1997; W @0 trace/3 12.51; O parallel to W–O @1 zz -9.13; O perpendicular to W–O @1 xx -1.68
cubic CaTiO3; perovskite; 221; 3.897; Ca 0 0 0, Ti 1/2 1/2 1/2, O 1/2 1/2 0;
        Ali and Yashima, J. Solid State Chem. 178, 2867 (2005)
    Zhong 1994?; Ca @0 trace/3 2.58; Ti @1 trace/3 7.08; O parallel to Ti–O @2 zz -5.65;
        O perpendicular to Ti–O @2 xx -2.00
cubic SrTiO3; perovskite; 221; 3.905; Sr 0 0 0, Ti 1/2 1/2 1/2, O 1/2 1/2 0;
        Wyckoff, Crystal Structures (1963)
    ezSCUP; Sr @0 trace/3 2.567; Ti @1 trace/3 7.266; O parallel to Ti–O @2 zz -5.707;
        O perpendicular to Ti–O @2 xx -2.063
    Zhong 1994?; Sr @0 trace/3 2.54; Ti @1 trace/3 7.12; O parallel to Ti–O @2 zz -5.66;
        O perpendicular to Ti–O @2 xx -2.00
cubic BaTiO3; perovskite; 221; 4.00; Ba 0 0 0, Ti 1/2 1/2 1/2, O 1/2 1/2 0;
        Wyckoff, Crystal Structures (1963)
    Zhong 1994; Ba @0 trace/3 2.75; Ti @1 trace/3 7.16; O parallel to Ti–O @2 zz -5.69;
        O perpendicular to Ti–O @2 xx -2.11
    ALAMODE examples; Ti @1 trace/3 7.40; O parallel to Ti–O @2 zz -5.86
    Ghosez 1998?; Ba @0 trace/3 2.77; Ti @1 trace/3 7.25; O parallel to Ti–O @2 zz -5.71;
        O perpendicular to Ti–O @2 xx -2.15
tetragonal BaTiO3; perovskite; 99; 3.994 4.038;
        Ba 0 0 0, Ti 1/2 1/2 0.5135, O 1/2 1/2 -0.0250, O 1/2 0 0.4850;
        Shirane et al., Phys. Rev. 105, 856 (1957)
    Petretto 2018; Ba @0 xx 2.741 zz 2.843; Ti @1 xx 7.000 zz 5.667;
        O parallel to Ti–O, polar @2 zz -4.605; O perpendicular to Ti–O, polar @2 xx -2.016;
        O parallel to Ti–O @3 yy -5.590; O perpendicular to Ti–O @3 xx -2.134 zz -1.952
    Ghosez 1995?; Ba @0 xx 2.72 zz 2.83; Ti @1 xx 6.94 zz 5.81; O parallel to Ti–O, polar @2 zz -4.73;
        O perpendicular to Ti–O, polar @2 xx -1.99; O parallel to Ti–O @3 yy -5.53;
        O perpendicular to Ti–O @3 xx -2.14 zz -1.95
rhombohedral BaTiO3; perovskite; 160; 5.654 6.954; Ba 0 0 0, Ti 0 0 0.4870, O 0.16433 0.32867 0.34667;
        Hewat, Ferroelectrics 6, 215 (1974)
    Petretto 2018; Ba @0 xx 2.798 zz 2.750; Ti @3 xx 6.556 zz 5.645; O @6 trace/3 -3.012 zz -2.798
    Ghosez 1995?; Ba @0 xx 2.79 zz 2.74; Ti @3 xx 6.54 zz 5.61
cubic PbTiO3; perovskite; 221; 3.969; Pb 0 0 0, Ti 1/2 1/2 1/2, O 1/2 1/2 0;
        Shirane and Hoshino, J. Phys. Soc. Jpn. 6, 265 (1951)
    Zhong 1994; Pb @0 trace/3 3.90; Ti @1 trace/3 7.06; O parallel to Ti–O @2 zz -5.83
    Zhong 1994?; O perpendicular to Ti–O @2 xx -2.56
tetragonal PbTiO3; perovskite; 99; 3.902 4.156;
        Pb 0 0 0, Ti 1/2 1/2 0.5377, O 1/2 1/2 0.1118, O 1/2 0 0.6174;
        Nelmes and Kuhs, Solid State Commun. 54, 721 (1985)
    Petretto 2018; Pb @0 xx 3.730 zz 3.462; Ti @1 xx 6.133 zz 5.174;
        O parallel to Ti–O, polar @2 zz -4.373; O perpendicular to Ti–O, polar @2 xx -2.121;
        O parallel to Ti–O @3 yy -5.126; O perpendicular to Ti–O @3 xx -2.616 zz -2.131
cubic KNbO3; perovskite; 221; 4.022; K 0 0 0, Nb 1/2 1/2 1/2, O 1/2 1/2 0;
        Shirane et al., Phys. Rev. 93, 672 (1954)
    Zhong 1994?; K @0 trace/3 1.14; Nb @1 trace/3 9.23; O parallel to Nb–O @2 zz -7.01;
        O perpendicular to Nb–O @2 xx -1.68
tetragonal KNbO3; perovskite; 99; 3.997 4.063;
        K 0 0 0.023, Nb 1/2 1/2 1/2, O 1/2 1/2 0.040, O 1/2 0 0.542; Hewat, J. Phys. C 6, 2559 (1973)
    Petretto 2018; K @0 xx 1.143 zz 1.183; Nb @1 xx 9.136 zz 7.069;
        O parallel to Nb–O, polar @2 zz -5.405; O perpendicular to Nb–O, polar @2 xx -1.545;
        O parallel to Nb–O @3 yy -7.000; O perpendicular to Nb–O @3 xx -1.733 zz -1.423
cubic BaZrO3; perovskite; 221; 4.192; Ba 0 0 0, Zr 1/2 1/2 1/2, O 1/2 1/2 0;
        Wyckoff, Crystal Structures (1963)
    Petretto 2018; Ba @0 trace/3 2.738; Zr @1 trace/3 6.118; O parallel to Zr–O @2 zz -4.831;
        O perpendicular to Zr–O @2 xx -2.013
    Zhong 1994?; Ba @0 trace/3 2.73; Zr @1 trace/3 6.03; O parallel to Zr–O @2 zz -4.74;
        O perpendicular to Zr–O @2 xx -2.01
cubic KTaO3; perovskite; 221; 3.989; K 0 0 0, Ta 1/2 1/2 1/2, O 1/2 1/2 0;
        Vousden, Acta Cryst. 4, 373 (1951)
    Petretto 2018; K @0 trace/3 1.150; Ta @1 trace/3 8.664; O parallel to Ta–O @2 zz -6.483;
        O perpendicular to Ta–O @2 xx -1.665
"""
