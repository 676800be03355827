"""The same network in torch with e3nn's own tensor products and linear layers, for `peers.py`.

Form "uuw" multiplies channel by channel and mixes channels afterwards, as the network is defined; it is the
fastest way to express this in e3nn. Form "uvu", e3nn's usual choice for such layers, has as many weights but
mixes the channels of the edge before the product. It is another function of the same size, timed for
comparison.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from e3nn import o3

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels import EDGE, HIDDEN, PATHS, clebsch_gordan, plan_products
from equivar_jax.network.model import READOUT

Form = Literal["uuw", "uvu"]
_SOFTPLUS_SECOND_MOMENT = 0.2842636221740419


class Equivar(torch.nn.Module):
    """The network; it gives tensors [node, field, displacement] in e before the sum rule."""

    def __init__(self, config: ModelConfig, params: Mapping[str, Any], form: Form = "uuw"):
        super().__init__()
        self.config = config
        self.embedding = _parameter(params["embedding"])
        self.lin0 = _parameter(params["lin0_weight"])
        self.lin0_bias = _parameter(params["lin0_bias"])
        self.lin1 = _parameter(params["lin1_weight"])
        self.lin1_bias = _parameter(params["lin1_bias"])
        self.harmonics = o3.SphericalHarmonics("0e+1o+2e", normalize=True, normalization="component")
        self.register_buffer("centres", torch.linspace(0, config.cutoff, config.radial_functions))
        self.register_buffer("cartesian", _cartesian())
        layers, inputs = [], HIDDEN[:1]
        for layer in range(config.interactions):
            needed = READOUT if layer == config.interactions - 1 else HIDDEN
            layers.append(Interaction(config, params[f"interaction_{layer}"], inputs, needed, form))
            inputs = layers[-1].outputs
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, species, vectors, senders, receivers):
        """Compute tensors from species [N], vectors [E, 3] in Å, senders and receivers [E]."""
        config = self.config
        width = config.cutoff / (config.radial_functions - 1)
        distances = vectors.norm(dim=-1)
        basis = torch.exp(-0.5 * ((distances[:, None] - self.centres) / width) ** 2)
        harmonics = self.harmonics(vectors)
        features = self.embedding[species] @ self.lin0 / math.sqrt(config.embedding) + self.lin0_bias
        for layer in self.layers:
            features = layer(features, basis, harmonics, senders, receivers)
        parts = _split(features, READOUT)  # the last interaction gives these, in this order
        outputs = [
            torch.einsum("ncm,c->nm", part, weight) for part, weight in zip(parts, self.lin1, strict=True)
        ]
        flat = torch.cat(outputs, dim=1) / math.sqrt(config.channels)
        bias = torch.cat([self.lin1_bias[None], torch.zeros(8)])
        return torch.einsum("nk,kab->nab", flat + bias, self.cartesian)


class Interaction(torch.nn.Module):
    """One interaction; irreps that are zero or that are never read are left out, as in our own."""

    def __init__(self, config, params, inputs, needed, form: Form):
        super().__init__()
        f = config.channels
        plan = plan_products(inputs, needed)
        self.f, self.inputs = f, inputs
        self.outputs = tuple(ir for ir in HIDDEN if ir in needed and (ir in inputs or plan.products_to(ir)))
        self.scale = 1 / math.sqrt(config.mean_neighbours)
        self.edge_weight = _parameter(
            np.asarray(params["edge_weight"]).reshape(config.radial_functions, 3 * f)
        )
        self.edge_bias = _parameter(params["edge_bias"])
        targets = tuple(ir for ir in HIDDEN if plan.products_to(ir))
        self.targets = targets
        instructions, weights = [], []
        for product in plan.products:
            node, edge, out = PATHS[product.path]
            instructions.append((inputs.index(node), EDGE.index(edge), targets.index(out), form, True))
            weights.append(_path_weight(product, np.asarray(params["path_weights"])[product.path], f))
        self.product = o3.TensorProduct(
            *(o3.Irreps([(f, (ir.l, ir.p)) for ir in irreps]) for irreps in (inputs, EDGE, targets)),
            instructions,
            irrep_normalization="none",
            path_normalization="none",
            internal_weights=True,
            shared_weights=True,
        )
        irreps = o3.Irreps([(f, (ir.l, ir.p)) for ir in targets])
        self.linear = o3.Linear(
            irreps, irreps, biases=[ir.l == 0 and ir.p == 1 for ir in targets], path_normalization="element"
        )
        with torch.no_grad():
            self.product.weight.copy_(torch.cat([torch.tensor(w).reshape(-1) for w in weights]))
            mixed = [np.asarray(params["linear_weight"])[HIDDEN.index(ir)] for ir in targets]
            # e3nn divides by the root of the fan-in; ours by the root of the number of paths as well.
            scales = [1 / math.sqrt(len(plan.products_to(ir))) for ir in targets]
            self.linear.weight.copy_(
                torch.cat([torch.tensor(w * s).reshape(-1) for w, s in zip(mixed, scales, strict=True)])
            )
            self.linear.bias.copy_(torch.tensor(np.asarray(params["linear_bias"])))

    def forward(self, features, basis, harmonics, senders, receivers):
        """Compute new features, [N, sum of f x (2l + 1)]."""
        f = self.f
        radial = basis @ self.edge_weight / math.pi**0.25
        scalars = torch.nn.functional.softplus(radial[:, :f] + self.edge_bias) - math.log(2.0)
        scalars = scalars / math.sqrt(_SOFTPLUS_SECOND_MOMENT)
        edges = torch.cat(
            [
                scalars,
                (radial[:, f : 2 * f, None] * harmonics[:, None, 1:4]).flatten(1),
                (radial[:, 2 * f :, None] * harmonics[:, None, 4:9]).flatten(1),
            ],
            dim=1,
        )
        messages = self.product(features[senders], edges)
        sums = torch.zeros(len(features), messages.shape[1]).index_add_(0, receivers, messages) * self.scale
        mixed = dict(zip(self.targets, _split(self.linear(sums), self.targets), strict=True))
        before = dict(zip(self.inputs, _split(features, self.inputs, f), strict=True))
        updated = []
        for ir in self.outputs:
            terms = [part[ir] for part in (before, mixed) if ir in part]
            updated.append((sum(terms) / math.sqrt(len(terms))).flatten(1))
        return torch.cat(updated, dim=1)


def _split(features, irreps, channels=None):
    """Split features into one array [nodes, channels, 2l + 1] for each irrep."""
    channels = channels or features.shape[1] // sum(ir.dim for ir in irreps)
    pieces = torch.split(features, [channels * ir.dim for ir in irreps], dim=1)
    return [piece.reshape(len(features), channels, ir.dim) for piece, ir in zip(pieces, irreps, strict=True)]


def _path_weight(product, weight, f):
    """Return our weights of one path, times the ratio of our coefficients to e3nn's, over the root of f."""
    node, edge, out = PATHS[product.path]
    theirs = o3.wigner_3j(node.l, edge.l, out.l).numpy()
    ours = product.coefficients()
    place = np.unravel_index(np.argmax(np.abs(theirs)), theirs.shape)
    ratio = float(ours[place] / theirs[place])
    np.testing.assert_allclose(ours, ratio * theirs, atol=1e-5)
    return (weight * ratio / math.sqrt(f)).astype(np.float32)


def _cartesian():
    """Return the matrices [9, 3, 3] from irreps 0e + 1e + 2e to Cartesian components."""
    blocks = [np.moveaxis(clebsch_gordan(1, 1, ir.l) * ir.dim**0.5, 2, 0) for ir in READOUT]
    return torch.tensor(np.concatenate(blocks), dtype=torch.float32)


def _parameter(array):
    return torch.nn.Parameter(torch.tensor(np.asarray(array), dtype=torch.float32))
