"""The 4-linear form of the neighbours and its derivatives of every order, as one JAX primitive.

    F(x, rho, Y, a) = sum_i sum_{e of i} sum_p C^p[m1, m2, m] x[s_e][m1, c] rho_l(p)[e, c] Y[e, l(p) m2] a[i][p m, c]

The neighbour sum is the derivative of F by a. F is linear in each of its four arguments, the slots, so each of the
four derivatives is linear in the three other arguments, and every derivative of a derivative is a sum of the same
four functions with arguments replaced. `evaluate` computes any number of outputs, each a sum of such terms; forward
mode, transposition and batching of it are again calls of `evaluate`, so all of JAX's transformations close.

A batch of operands, as `jax.vmap` makes it, shares one pass over the edges: operands and outputs are batched or
not, and an output that is not sums over the batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe
from jaxtyping import Array, Float

from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan

MISSING = -1
"""Stands in a term for the slot of its output."""


class Slot(IntEnum):
    """The arguments of F."""

    FEATURES = 0
    """x, (table, components, channels)."""
    RADIAL = 1
    """rho, (edges, 3, channels)."""
    HARMONICS = 2
    """Y, (edges, 9)."""
    SUMS = 3
    """a, (nodes, products, channels)."""


Term = tuple[int, int, int, int]
"""Number of the operand in each slot, `MISSING` in the slot of the output."""


class Output(NamedTuple):
    """One array to compute: the derivative of F by a slot, at operands, summed over terms."""

    slot: Slot
    batched: bool
    terms: tuple[Term, ...]


@dataclasses.dataclass(frozen=True)
class Form:
    """What `evaluate` computes."""

    plan: ProductPlan
    kernel: str
    """Name of the implementation, one of `IMPLEMENTATIONS`."""
    table: int
    """Rows of the table of features."""
    channels: int
    dtype: np.dtype
    slots: tuple[Slot, ...]
    """Slot of each operand."""
    batched: tuple[bool, ...]
    """Whether an operand has a leading axis for the slices of a batch."""
    slices: int
    """Slices of the batch; 0 if nothing is batched."""
    outputs: tuple[Output, ...]

    def shape(self, slot: Slot, batched: bool, neighbours: Neighbours) -> tuple[int, ...]:
        """Return the shape of an array in a slot."""
        edges, nodes = neighbours.senders.shape[0], neighbours.counts.shape[0]
        shape: tuple[int, ...] = {
            Slot.FEATURES: (self.table, self.plan.input_components, self.channels),
            Slot.RADIAL: (edges, 3, self.channels),
            Slot.HARMONICS: (edges, 9),
            Slot.SUMS: (nodes, self.plan.output_components, self.channels),
        }[slot]
        return (self.slices, *shape) if batched else shape

    def without_unused(self) -> tuple["Form", list[int]]:
        """Drop the operands that no term names; return the numbers of those that stay, too."""
        used = sorted({k for output in self.outputs for term in output.terms for k in term if k != MISSING})
        number = {old: new for new, old in enumerate(used)} | {MISSING: MISSING}
        outputs = tuple(
            output._replace(terms=tuple(_term(number[k] for k in term) for term in output.terms))
            for output in self.outputs
        )
        slots, batched = (tuple(each[k] for k in used) for each in (self.slots, self.batched))
        slices = self.slices if any(batched) or any(output.batched for output in outputs) else 0
        return dataclasses.replace(self, slots=slots, batched=batched, outputs=outputs, slices=slices), used


Implementation = Callable[[Sequence[Array], Neighbours, Form], Sequence[Array]]
IMPLEMENTATIONS: dict[str, Implementation] = {}
"""Filled by the modules of the kernels."""


def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
    kernel: str,
) -> Float[Array, "nodes products channels"]:
    """Compute the neighbour sum, the derivative of F by its last slot; see `kernels.neighbour_sum`."""
    table, _, channels = features.shape
    output = Output(Slot.SUMS, False, ((0, 1, 2, MISSING),))
    slots = (Slot.FEATURES, Slot.RADIAL, Slot.HARMONICS)
    form = Form(plan, kernel, table, channels, features.dtype, slots, (False,) * 3, 0, (output,))
    return evaluate((features, radial, harmonics), neighbours, form)[0]


def evaluate(operands: Sequence[Array], neighbours: Neighbours, form: Form) -> list[Array]:
    """Compute the outputs of a form.

    Args:
        operands: Arrays of one floating-point type, in the slots that `form.slots` says.
        neighbours: The edges of every node.
        form: What to compute.
    """
    smaller, used = form.without_unused()
    return neighbour_form_p.bind(*neighbours, *(operands[k] for k in used), form=smaller)


neighbour_form_p = Primitive("neighbour_form")
neighbour_form_p.multiple_results = True
_INTEGERS = len(Neighbours._fields)


def _implementation(*arrays: Array, form: Form) -> list[Array]:
    neighbours, operands = Neighbours(*arrays[:_INTEGERS]), arrays[_INTEGERS:]
    return list(IMPLEMENTATIONS[form.kernel](operands, neighbours, form))


def _abstract(*avals, form: Form):
    neighbours, operands = Neighbours(*avals[:_INTEGERS]), avals[_INTEGERS:]
    for aval, slot, batched in zip(operands, form.slots, form.batched, strict=True):
        if aval.shape != form.shape(slot, batched, neighbours):
            raise ValueError(
                f"{slot.name.lower()} has shape {aval.shape}, not {form.shape(slot, batched, neighbours)}"
            )
        if aval.dtype != form.dtype:
            raise TypeError(f"{slot.name.lower()} has type {aval.dtype}, not {form.dtype}")
    return [
        jax.core.ShapedArray(form.shape(output.slot, output.batched, neighbours), form.dtype)
        for output in form.outputs
    ]


def _forward_mode(primals, tangents, *, form: Form):
    """Differentiate forwards: the product rule, term by term."""
    found = neighbour_form_p.bind(*primals, form=form)
    moving = [k for k, tangent in enumerate(tangents[_INTEGERS:]) if type(tangent) is not ad.Zero]
    number = {k: len(form.slots) + place for place, k in enumerate(moving)}
    outputs, wanted = [], []
    for place, output in enumerate(form.outputs):
        terms = tuple(
            _term(number[k] if place == slot else other for place, other in enumerate(term))
            for term in output.terms
            for slot, k in enumerate(term)
            if k in number
        )
        if terms:
            outputs.append(output._replace(terms=terms))
            wanted.append(place)
    changes = [ad.Zero(jax.typeof(array).to_tangent_aval()) for array in found]
    if outputs:
        moved = dataclasses.replace(
            form,
            slots=form.slots + tuple(form.slots[k] for k in moving),
            batched=form.batched + tuple(form.batched[k] for k in moving),
            outputs=tuple(outputs),
        )
        operands = [*primals[_INTEGERS:], *(ad.instantiate_zeros(tangents[_INTEGERS + k]) for k in moving)]
        made = evaluate(operands, Neighbours(*primals[:_INTEGERS]), moved)
        for place, change in zip(wanted, made, strict=True):
            changes[place] = change
    return found, changes


def _transpose(cotangents, *arguments, form: Form):
    """Transpose: in every term the linear operand and the cotangent of the output change places."""
    neighbours, operands = Neighbours(*arguments[:_INTEGERS]), arguments[_INTEGERS:]
    known = [k for k, operand in enumerate(operands) if not ad.is_undefined_primal(operand)]
    number = {k: place for place, k in enumerate(known)}
    slots, batched = ([each[k] for k in known] for each in (form.slots, form.batched))
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
            (slot,) = (s for s, k in enumerate(term) if k != MISSING and k not in number)
            swapped = [MISSING if s == slot else number.get(k, own) for s, k in enumerate(term)]
            terms.setdefault(term[slot], []).append(_term(swapped))
    linear = [k for k in range(len(operands)) if k not in number]
    found: list[Array | ad.Zero | None] = [None] * (_INTEGERS + len(operands))
    for k in linear:
        found[_INTEGERS + k] = ad.Zero(operands[k].aval)
    wanted = [k for k in linear if k in terms]
    if wanted:
        outputs = tuple(Output(form.slots[k], form.batched[k], tuple(terms[k])) for k in wanted)
        swapped_form = dataclasses.replace(form, slots=tuple(slots), batched=tuple(batched), outputs=outputs)
        made = evaluate(arrays, neighbours, swapped_form)
        for k, array in zip(wanted, made, strict=True):
            found[_INTEGERS + k] = array
    return found


def _batch(arguments, axes, *, form: Form):
    """Batch: the axis of `jax.vmap` becomes that of the slices, or joins it."""
    size = next(a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None)
    if any(axis is not None for axis in axes[:_INTEGERS]) or (form.slices and not _is_uniform(form)):
        return _batch_one_by_one(arguments, axes, size, form)
    neighbours, operands = Neighbours(*arguments[:_INTEGERS]), arguments[_INTEGERS:]
    outer = [axis is not None for axis in axes[_INTEGERS:]]
    operands = [
        array if axis is None else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(operands, axes[_INTEGERS:], strict=True)
    ]
    inner = form.slices
    joined = []
    for array, is_outer, is_inner in zip(operands, outer, form.batched, strict=True):
        if inner and (is_outer or is_inner):
            place = (0,) * (not is_outer) + (1,) * (not is_inner)
            array = jnp.expand_dims(array, place)
            array = jnp.broadcast_to(array, (size, inner, *array.shape[2:])).reshape(-1, *array.shape[2:])
        joined.append(array)
    batched = tuple(a or b for a, b in zip(outer, form.batched, strict=True))
    varies = [any(outer[k] for term in output.terms for k in term if k != MISSING) for output in form.outputs]
    outputs = tuple(
        output._replace(batched=output.batched or is_outer)
        for output, is_outer in zip(form.outputs, varies, strict=True)
    )
    whole = dataclasses.replace(form, batched=batched, outputs=outputs, slices=size * max(inner, 1))
    if inner and not all(varies):
        return _batch_one_by_one(arguments, axes, size, form)
    found = evaluate(joined, neighbours, whole)
    if inner:
        found = [array.reshape(size, inner, *array.shape[1:]) for array in found]
        found = [
            array if output.batched else array.sum(axis=1)
            for array, output in zip(found, form.outputs, strict=True)
        ]
    return found, [0 if is_outer else batching.not_mapped for is_outer in varies]


def _is_uniform(form: Form) -> bool:
    """Return whether every term of every output that sums over the batch has an operand of the batch."""
    return all(
        output.batched or any(form.batched[k] for k in term if k != MISSING)
        for output in form.outputs
        for term in output.terms
    )


def _batch_one_by_one(arguments, axes, size: int, form: Form):
    """Do one element of the axis after the other, for what cannot share a pass."""
    mapped = [k for k, axis in enumerate(axes) if axis is not None]

    def one(slices):
        own = list(arguments)
        for k, array in zip(mapped, slices, strict=True):
            own[k] = array
        return neighbour_form_p.bind(*own, form=form)

    moved = [jnp.moveaxis(arguments[k], axes[k], 0) for k in mapped]
    return jax.lax.map(one, moved), [0] * len(form.outputs)


def _drop_unused_outputs(used: list[bool], equation):
    """Let JAX drop outputs that nobody reads, and the operands that only they read."""
    form = equation.params["form"]
    if not any(used):
        return [False] * len(equation.invars), None
    outputs = tuple(output for output, is_used in zip(form.outputs, used, strict=True) if is_used)
    smaller, kept = dataclasses.replace(form, outputs=outputs).without_unused()
    reads = [True] * _INTEGERS + [k in kept for k in range(len(form.slots))]
    invars = [var for var, is_read in zip(equation.invars, reads, strict=True) if is_read]
    outvars = [var for var, is_used in zip(equation.outvars, used, strict=True) if is_used]
    return reads, equation.replace(invars=invars, outvars=outvars, params={"form": smaller})


def _term(numbers) -> Term:
    features, radial, harmonics, sums = numbers
    return features, radial, harmonics, sums


neighbour_form_p.def_impl(jax.jit(_implementation, static_argnames="form"))
neighbour_form_p.def_abstract_eval(_abstract)
ad.primitive_jvps[neighbour_form_p] = _forward_mode
ad.primitive_transposes[neighbour_form_p] = _transpose
batching.primitive_batchers[neighbour_form_p] = _batch
pe.dce_rules[neighbour_form_p] = _drop_unused_outputs
mlir.register_lowering(neighbour_form_p, mlir.lower_fun(_implementation, multiple_results=True))
