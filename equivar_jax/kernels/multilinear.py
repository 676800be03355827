"""Multilinear forms and all their derivatives, as one JAX primitive.

A form F(u, v, w, ...) is a number that is linear in each of its arguments, the slots. So each of its
derivatives by one slot is linear in the others, and every derivative of a derivative is a sum of the same few
functions with arguments replaced. `evaluate` computes any number of outputs, each a sum of such terms.
Forward mode, transposition and batching of it are calls of `evaluate` again, so all of JAX's transformations
close.

A batch of operands, as `jax.vmap` makes it, shares one pass: operands and outputs are batched or not, and an
output that is not sums over the batch.

Which forms there are: `neighbour_form` and `node_form`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe
from jaxtyping import Array

MISSING = -1
"""Stands in a term for the slot of its output."""
ONE = -2
"""Stands in a term for an operand that is one everywhere."""

Term = tuple[int, ...]
"""Number of the operand in each slot, `MISSING` in the slot of the output; `ONE` where that is allowed."""


class Output(NamedTuple):
    """One array to compute: the derivative of the form by a slot, at operands, summed over terms."""

    slot: int
    batched: bool
    terms: tuple[Term, ...]


@runtime_checkable
class Space(Protocol):
    """A form: its slots, and how to compute its derivatives. It is hashable, a constant to JAX."""

    @property
    def dtype(self) -> np.dtype:
        """Type of operands and outputs."""

    @property
    def integers(self) -> int:
        """Number of integer arrays that come before the operands."""

    def shape(self, slot: int) -> tuple[Any, ...]:
        """Return the shape of an array in a slot, without a batch."""

    def compute(self, integers: Sequence[Array], operands: Sequence[Array], form: "Form") -> Sequence[Array]:
        """Compute the outputs of `form`."""


@dataclasses.dataclass(frozen=True)
class Form:
    """What `evaluate` computes."""

    space: Space
    slots: tuple[int, ...]
    """Slot of each operand."""
    batched: tuple[bool, ...]
    """Whether an operand has a leading axis for the slices of a batch."""
    slices: int
    """Slices of the batch; 0 if nothing is batched."""
    outputs: tuple[Output, ...]

    def shape(self, slot: int, batched: bool) -> tuple[Any, ...]:
        """Return the shape of an operand or output."""
        shape = self.space.shape(slot)
        return (self.slices, *shape) if batched else shape

    def varies(self, term: Term) -> bool:
        """Return whether a term has an operand of the batch."""
        return any(self.batched[k] for k in _numbers(term))

    def without_unused(self) -> tuple["Form", list[int]]:
        """Drop the operands that no term names; return the numbers of those that stay, too."""
        used = sorted({k for output in self.outputs for term in output.terms for k in _numbers(term)})
        number = {old: new for new, old in enumerate(used)}
        outputs = tuple(
            output._replace(terms=tuple(tuple(number.get(k, k) for k in term) for term in output.terms))
            for output in self.outputs
        )
        slots, batched = tuple(self.slots[k] for k in used), tuple(self.batched[k] for k in used)
        slices = self.slices if any(batched) or any(output.batched for output in outputs) else 0
        return dataclasses.replace(self, slots=slots, batched=batched, outputs=outputs, slices=slices), used


def derivative(
    space: Space, slot: int, terms: Sequence[Term], integers: Sequence[Array], operands: Sequence[Array]
) -> Array:
    """Compute the derivative of a form by one slot, summed over terms.

    Args:
        space: The form.
        slot: The slot to differentiate by.
        terms: For each the number of the operand in each slot.
        integers: The integer arrays of the form.
        operands: Arrays, of the shapes of their slots.
    """
    slots = {k: place for term in terms for place, k in enumerate(term) if k >= 0}
    used = sorted(slots)
    number = {k: place for place, k in enumerate(used)}
    output = Output(slot, False, tuple(tuple(number.get(k, k) for k in term) for term in terms))
    form = Form(space, tuple(slots[k] for k in used), (False,) * len(used), 0, (output,))
    return evaluate(integers, [operands[k] for k in used], form)[0]


def evaluate(integers: Sequence[Array], operands: Sequence[Array], form: Form) -> list[Array]:
    """Compute the outputs of a form.

    Args:
        integers: Integer arrays that the form reads.
        operands: Arrays in the slots that `form.slots` says.
        form: What to compute.
    """
    smaller, used = form.without_unused()
    return multilinear_p.bind(*integers, *(operands[k] for k in used), form=smaller)


def evaluate_slice_by_slice(
    operands: Sequence[Array], form: Form, one: Callable[[Sequence[Array], Form], Sequence[Array]]
) -> list[Array]:
    """Compute the outputs of a form by a function that knows no batch, which `jax.vmap` takes to the slices.

    Terms that are the same for all slices are computed once.

    Args:
        operands: The operands.
        form: What to compute.
        one: Computes the outputs of a form without a batch. It must not look at `Form.batched`, which says
            what the whole has.
    """
    if not form.slices:
        return list(one(operands, form))
    (fixed, once), (varying, each) = _part(form, varying=False), _part(form, varying=True)
    of_fixed = one([operands[k] for k in once], fixed)
    axes = [0 if batched else None for batched in varying.batched]
    found = []
    if any(axis is not None for axis in axes):
        of_slices = jax.vmap(lambda *arrays: list(one(arrays, varying)), in_axes=axes)(
            *(operands[k] for k in each)
        )
    else:  # nothing varies, but an output is wanted for every slice
        of_slices = [jnp.zeros(form.shape(output.slot, True), form.space.dtype) for output in form.outputs]
    for output, same, others in zip(form.outputs, of_fixed, of_slices, strict=True):
        found.append(same + (others if output.batched else others.sum(axis=0)))
    return found


def _part(form: Form, varying: bool) -> tuple[Form, list[int]]:
    """Take the terms that have an operand of the batch, or the others; and the numbers of their operands."""
    outputs = tuple(
        Output(output.slot, varying, tuple(t for t in output.terms if form.varies(t) is varying))
        for output in form.outputs
    )
    return dataclasses.replace(form, outputs=outputs).without_unused()


multilinear_p = Primitive("multilinear")
multilinear_p.multiple_results = True


def _numbers(term: Term) -> Iterable[int]:
    return (k for k in term if k >= 0)


def _split(arguments: Sequence, form: Form) -> tuple[Sequence, Sequence]:
    return arguments[: form.space.integers], arguments[form.space.integers :]


def _compute(*arrays: Array, form: Form) -> list[Array]:
    return list(form.space.compute(*_split(arrays, form), form))


def _abstract(*avals, form: Form):
    for aval, slot, batched in zip(_split(avals, form)[1], form.slots, form.batched, strict=True):
        if aval.shape != form.shape(slot, batched) or aval.dtype != form.space.dtype:
            raise ValueError(
                f"operand in slot {slot} is {aval.dtype}{list(aval.shape)}, not "
                f"{form.space.dtype}{list(form.shape(slot, batched))}"
            )
    return [
        jax.core.ShapedArray(form.shape(output.slot, output.batched), form.space.dtype)
        for output in form.outputs
    ]


def _forward_mode(primals, tangents, *, form: Form):
    """Differentiate forwards: the product rule, term by term."""
    found = multilinear_p.bind(*primals, form=form)
    (integers, operands), (_, changes) = _split(primals, form), _split(tangents, form)
    moving = [k for k, change in enumerate(changes) if type(change) is not ad.Zero]
    number = {k: len(form.slots) + place for place, k in enumerate(moving)}
    results: list[Array | ad.Zero] = [ad.Zero(jax.typeof(array).to_tangent_aval()) for array in found]
    outputs, wanted = [], []
    for place, output in enumerate(form.outputs):
        terms = tuple(
            (*term[:slot], number[k], *term[slot + 1 :])
            for term in output.terms
            for slot, k in enumerate(term)
            if k in number
        )
        if terms:
            outputs.append(output._replace(terms=terms))
            wanted.append(place)
    if outputs:
        moved = dataclasses.replace(
            form,
            slots=form.slots + tuple(form.slots[k] for k in moving),
            batched=form.batched + tuple(form.batched[k] for k in moving),
            outputs=tuple(outputs),
        )
        made = evaluate(integers, [*operands, *(changes[k] for k in moving)], moved)
        for place, change in zip(wanted, made, strict=True):
            results[place] = change
    return found, results


def _transpose(cotangents, *arguments, form: Form):
    """Transpose: in every term the linear operand and the cotangent of the output change places."""
    integers, operands = _split(arguments, form)
    known = [k for k, operand in enumerate(operands) if not ad.is_undefined_primal(operand)]
    number = {k: place for place, k in enumerate(known)}
    slots, batched = [form.slots[k] for k in known], [form.batched[k] for k in known]
    arrays = [operands[k] for k in known]
    terms: dict[int, list[Term]] = {}
    for output, cotangent in zip(form.outputs, cotangents, strict=True):
        if type(cotangent) is ad.Zero:
            continue
        own = len(arrays)
        arrays.append(cotangent)
        slots.append(output.slot)
        batched.append(output.batched)
        for term in output.terms:
            (linear,) = (k for k in _numbers(term) if k not in number)
            swapped = [number.get(k, k) for k in term]
            swapped[output.slot], swapped[form.slots[linear]] = own, MISSING
            terms.setdefault(linear, []).append(tuple(swapped))
    found: list = [None] * len(integers)
    found += [None if k in number else ad.Zero(operands[k].aval) for k in range(len(operands))]
    wanted = sorted(terms)
    if wanted:
        outputs = tuple(Output(form.slots[k], form.batched[k], tuple(terms[k])) for k in wanted)
        swapped_form = dataclasses.replace(form, slots=tuple(slots), batched=tuple(batched), outputs=outputs)
        made = evaluate(integers, arrays, swapped_form)
        for k, array in zip(wanted, made, strict=True):
            found[len(integers) + k] = array
    return found


def _batch(arguments, axes, *, form: Form):
    """Batch: the axis of `jax.vmap` becomes that of the slices, or joins it."""
    size = next(a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None)
    (integers, operands), (of_integers, of_operands) = _split(arguments, form), _split(axes, form)
    outer = [axis is not None for axis in of_operands]
    varies = [any(outer[k] for term in output.terms for k in _numbers(term)) for output in form.outputs]
    inner = form.slices
    if any(axis is not None for axis in of_integers) or (inner and not (_is_uniform(form) and all(varies))):
        return _batch_one_by_one(arguments, axes, form)
    joined = []
    for array, axis, is_inner in zip(operands, of_operands, form.batched, strict=True):
        moved = array if axis is None else jnp.moveaxis(array, axis, 0)
        if inner and (axis is not None or is_inner):
            moved = jnp.expand_dims(moved, (0,) * (axis is None) + (1,) * (not is_inner))
            moved = jnp.broadcast_to(moved, (size, inner, *moved.shape[2:])).reshape(-1, *moved.shape[2:])
        joined.append(moved)
    whole = dataclasses.replace(
        form,
        batched=tuple(a or b for a, b in zip(outer, form.batched, strict=True)),
        outputs=tuple(
            output._replace(batched=output.batched or is_outer)
            for output, is_outer in zip(form.outputs, varies, strict=True)
        ),
        slices=size * max(inner, 1),
    )
    found = evaluate(integers, joined, whole)
    if inner:
        found = [array.reshape(size, inner, *array.shape[1:]) for array in found]
        kept = [output.batched for output in form.outputs]
        found = [array if keep else array.sum(axis=1) for array, keep in zip(found, kept, strict=True)]
    return found, [0 if is_outer else None for is_outer in varies]


def _is_uniform(form: Form) -> bool:
    """Return whether every term of every output that sums over the batch has an operand of the batch."""
    return all(output.batched or form.varies(term) for output in form.outputs for term in output.terms)


def _batch_one_by_one(arguments, axes, form: Form):
    """Do one element of the axis after the other, for what cannot share a pass."""
    mapped = [k for k, axis in enumerate(axes) if axis is not None]

    def one(slices):
        own = list(arguments)
        for k, array in zip(mapped, slices, strict=True):
            own[k] = array
        return multilinear_p.bind(*own, form=form)

    moved = [jnp.moveaxis(arguments[k], axes[k], 0) for k in mapped]
    return jax.lax.map(one, moved), [0] * len(form.outputs)


def _drop_unused_outputs(used: list[bool], equation):
    """Let JAX drop outputs that nobody reads, and the operands that only they read."""
    form = equation.params["form"]
    if not any(used):
        return [False] * len(equation.invars), None
    outputs = tuple(output for output, is_used in zip(form.outputs, used, strict=True) if is_used)
    smaller, kept = dataclasses.replace(form, outputs=outputs).without_unused()
    reads = [True] * form.space.integers + [k in kept for k in range(len(form.slots))]
    invars = [var for var, is_read in zip(equation.invars, reads, strict=True) if is_read]
    outvars = [var for var, is_used in zip(equation.outvars, used, strict=True) if is_used]
    return reads, equation.replace(invars=invars, outvars=outvars, params={"form": smaller})


multilinear_p.def_impl(jax.jit(_compute, static_argnames="form"))
multilinear_p.def_abstract_eval(_abstract)
ad.primitive_jvps[multilinear_p] = _forward_mode
ad.primitive_transposes[multilinear_p] = _transpose
batching.primitive_batchers[multilinear_p] = _batch
pe.dce_rules[multilinear_p] = _drop_unused_outputs
mlir.register_lowering(multilinear_p, mlir.lower_fun(_compute, multiple_results=True))
