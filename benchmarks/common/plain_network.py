"""The network written plainly with e3nn-jax's own products and linear layers, edge by edge.

Benchmarks and tests compare the package with it. It shares nothing with the package but the weights and the
list of paths, and works on any jraph graph.
"""

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate

PATHS = [
    *("0e.0e->0e", "1o.1o->0e", "2e.2e->0e"),
    *("1e.0e->1e", "1e.2e->1e", "1o.1o->1e"),
    *("0e.1o->1o", "1e.1o->1o", "1o.0e->1o", "1o.2e->1o", "2e.1o->1o"),
    *("0e.2e->2e", "1o.1o->2e", "2e.0e->2e", "2e.2e->2e"),
]
HIDDEN = ["0e", "1o", "1e", "2e"]
EDGE = ["0e", "1o", "2e"]


def equivar(params, species, vectors, mask, senders, receivers, config):
    """Compute tensors [node, field, displacement] in e before the sum rule."""
    params, f = params["params"], config.channels
    distances = jnp.linalg.norm(vectors, axis=-1)
    centres = np.linspace(0, config.cutoff, config.radial_functions)
    basis = jnp.exp(-((distances[:, None] - centres) ** 2) / (2 * (centres[1] - centres[0]) ** 2))
    weight = mask[:, None].astype(vectors.dtype)
    if config.envelope:
        inside = jnp.where(
            distances < config.cutoff, 0.5 * (1 + jnp.cos(jnp.pi * distances / config.cutoff)), 0.0
        )
        weight = weight * inside[:, None]
    weights_of_x = integrate.quad(
        lambda x: np.exp(-x * x / 2) * (np.logaddexp(x, 0) - np.log(2)) ** 2, -12, 12
    )
    second_moment = weights_of_x[0] / np.sqrt(2 * np.pi)

    embedded = params["embedding"][species]
    scalars = embedded @ params["lin0_weight"] / np.sqrt(config.embedding) + params["lin0_bias"]
    features = {"0e": e3nn.IrrepsArray("0e", scalars[:, :, None])}  # [node, channel, component]
    for layer in range(config.interactions):
        w = params[f"interaction_{layer}"]
        radial = jnp.einsum("eg,glc->lec", basis, w["edge_weight"]) / np.pi**0.25
        activated = (jnp.logaddexp(radial[0] + w["edge_bias"], 0.0) - np.log(2)) / np.sqrt(second_moment)
        radial = radial.at[0].set(activated) * weight
        edge = {
            ir: e3nn.spherical_harmonics(ir, vectors, True, "component")[:, None] * radial[degree][:, :, None]
            for degree, ir in enumerate(EDGE)
        }
        messages: dict[str, e3nn.IrrepsArray] = {}
        for index, path in enumerate(PATHS):
            node, other, out = path.replace("->", ".").split(".")
            if node in features:
                product = e3nn.tensor_product(features[node][senders], edge[other], filter_ir_out=[out])
                summed = e3nn.scatter_sum(product, dst=receivers, output_size=len(species))
                messages.setdefault(out, []).append((summed / np.sqrt(config.mean_neighbours), index))
        previous, features = features, dict(features)
        for position, out in enumerate(HIDDEN):
            if out not in messages:
                continue
            mixed = linear(
                [summed for summed, _ in messages[out]],
                jnp.concatenate([w["path_weights"][index] for _, index in messages[out]]),
                out,
            )
            mixed = linear([mixed], w["linear_weight"][position], out)
            if out == "0e":
                mixed = mixed + e3nn.IrrepsArray("0e", w["linear_bias"][:, None])
            features[out] = (previous[out] + mixed) / np.sqrt(2) if out in previous else mixed
    outputs = []
    for position, out in enumerate(["0e", "1e", "2e"]):
        nothing = jnp.zeros((len(species), f, e3nn.Irrep(out).dim))
        array = features[out].array if out in features else nothing
        outputs.append(jnp.einsum("ncm,c->nm", array, params["lin1_weight"][position]) / np.sqrt(f))
    outputs[0] = outputs[0] + params["lin1_bias"]
    return sum(
        jnp.einsum("nm,abm->nab", part, e3nn.clebsch_gordan(1, 1, ir.l) * np.sqrt(ir.dim))
        for part, ir in zip(outputs, [e3nn.Irrep(x) for x in ("0e", "1e", "2e")], strict=True)
    )


def linear(parts, weight, irrep):
    """Apply `e3nn.flax.Linear`, channels as multiplicities, with a weight [channels in, channels out]."""
    joined = e3nn.concatenate([part.axis_to_mul() for part in parts]).simplify()
    layer = e3nn.flax.Linear(f"{weight.shape[1]}x{irrep}")
    (name,) = jax.eval_shape(layer.init, jax.random.key(0), joined)["params"]
    mixed = layer.apply({"params": {name: weight}}, joined)
    return mixed.mul_to_axis()
