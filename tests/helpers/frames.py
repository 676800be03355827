"""Extended XYZ as text, so that one thing at a time can be made wrong in it."""

HEADER = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3{label} pbc="T T T"{more}'
LABEL = ":becs:R:9"
TENSOR = " 1 0 0 0 1 0 0 0 1"


def frame(rows=("Ca 0 0 0" + TENSOR, "O 2 2 0" + TENSOR), label=LABEL, more="", header=HEADER):
    return "\n".join([str(len(rows)), header.format(label=label, more=more), *rows]) + "\n"


# Neutral, all different, and with tensors that fit any symmetry: nothing that hygiene objects to.
GOOD = "".join(frame((f"Ca 0 0 0.{k}" + TENSOR, "O 2 2 0" + TENSOR.replace("1", "-1"))) for k in range(1, 6))
