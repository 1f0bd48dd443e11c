r"""The atomic features of DPA3 on a CPU, without gradients.

DPA3 (arXiv:2506.01686) passes messages on two graphs: atoms i with the edges ij between
neighbours, and edges with the angles ijk between them. A layer adds to the features of
atoms :math:`v`, edges :math:`e` and angles :math:`a`, each term times a learned vector,

.. math::

    v_i &\mathrel{+}= \phi(v_i W),\quad \phi(\mathrm{sym}_i W),\quad
        \sum_j s_{ij} \phi([v_i, v_j, e_{ij}] W)\\
    e_{ij} &\mathrel{+}= \phi([v_i, v_j, e_{ij}] W),\quad
        \phi\Big(\sum_k s'_{ij} s'_{ik} \phi([a_{ijk}, v_i, e_{ik}, e_{ij}] W) W\Big)\\
    a_{ijk} &\mathrel{+}= \phi([a_{ijk}, v_i, e_{ik}, e_{ij}] W)

with an activation :math:`\phi`, biases, switching functions s, s' of the distances, and
:math:`\mathrm{sym}_i` the scalar products of the vectors
:math:`\sum_j s_{ij} e_{ij} \vec r_{ij} / r_{ij}^2` (and of the same with :math:`v_j`).

deepmd-kit writes each term at the length of the list of angles, the longest by far.
Here a matrix is split into the rows for each part of its input, so that the products
with v and e are made at the length of the lists of atoms and of edges; the compression
of v and e for angles, a linear map, is multiplied into those rows. What is left to do
for an angle, compiled loops do without writing it down. Products whose result does not
reach an atom, such as all updates of edges and angles in the last layer, are left out.

Lists are flat: the structures of a batch are parts of one graph, without padding, and a
periodic image of an atom is the atom itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mftscreen.model.backbones.dpa3.activation import silut_constants
from mftscreen.model.backbones.dpa3.kernels import find_cosines
from mftscreen.model.backbones.dpa3.layers import Layer, State
from mftscreen.model.network.graph import FlatGraph

__all__ = ["DPA3Inference", "supports"]


def supports(descriptor: Any) -> bool:
    """Return whether :class:`DPA3Inference` can take the place of a descriptor.

    Parameters
    ----------
    descriptor : torch.nn.Module
        Of deepmd-kit.

    Returns
    -------
    bool
        True for DPA3 in float32 with dynamic selection of neighbours, angles, learned
        residuals, and SiLU or SiLUT, on a CPU.
    """
    repflows = getattr(descriptor, "repflows", None)
    return bool(
        repflows is not None
        and repflows.prec == torch.float32
        and repflows.mean.device.type == "cpu"
        and repflows.use_dynamic_sel
        and repflows.update_angle
        and repflows.update_style == "res_residual"
        and not repflows.sequential_update
        and repflows.n_multi_edge_message == 1
        and not repflows.exclude_types
        and not descriptor.concat_output_tebd
        and (repflows.act.silut is not None or repflows.act.activation == "silu")
        and (repflows.mean == repflows.mean[:, :1]).all()
        and (repflows.stddev == repflows.stddev[:, :1]).all()
    )


class DPA3Inference:
    """The atomic features of a DPA3 descriptor.

    Parameters
    ----------
    descriptor : torch.nn.Module
        One that :func:`supports` accepts. Its weights are read now.
    """

    def __init__(self, descriptor: Any) -> None:
        repflows = descriptor.repflows
        self._repflows = repflows
        silut = repflows.act.silut
        self._silut = (
            silut_constants() if silut is None else silut_constants(silut.threshold)
        )
        last = len(repflows.layers) - 1
        with torch.inference_mode():
            types = torch.arange(repflows.ntypes)
            embedding = descriptor.type_embedding(types)
            if descriptor.add_chg_spin_ebd:
                embedding = embedding + _embed_charge_and_spin(descriptor)
            self._nodes = repflows.act(embedding)
            self._layers = [
                Layer(
                    layer,
                    repflows.angle_embd.matrix if number == 0 else None,
                    # atoms hear of an edge's update a layer later, of an angle's two
                    updates_edges=number < last,
                    updates_angles=number < last - 1,
                )
                for number, layer in enumerate(repflows.layers)
            ]

    @torch.inference_mode()
    def __call__(self, graph: FlatGraph) -> torch.Tensor:
        """Return the features of the atoms.

        Parameters
        ----------
        graph : FlatGraph
            With the cutoffs of the descriptor.

        Returns
        -------
        Tensor of shape (n_atoms, n_features)
            In float64, as deepmd-kit returns them.
        """
        state = self._embed(graph)
        for layer in self._layers:
            layer(state)
        return state.nodes.to(torch.float64)

    def _embed(self, graph: FlatGraph) -> State:
        """Return the features that the first layer starts from."""
        repflows, n_near = self._repflows, graph.n_near
        vectors = torch.from_numpy(graph.vectors)
        types = torch.from_numpy(graph.types)
        r = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        switch = self._switch(r, repflows.e_rcut_smth, repflows.e_rcut)
        protected = r + repflows.env_protection
        environment = torch.cat([1 / protected, vectors / protected**2], dim=1) * switch
        own = types[torch.from_numpy(graph.centers)]
        environment -= repflows.mean[own, 0]
        environment /= repflows.stddev[own, 0]
        if repflows.edge_init_use_dist:
            edges = repflows.edge_embd(r)
        else:
            edges = repflows.act(repflows.edge_embd(environment[:, :1]))
        angle_starts = np.zeros(graph.n_atoms + 1, dtype=np.int64)
        np.cumsum(np.diff(graph.starts[: graph.n_atoms + 1]) ** 2, out=angle_starts[1:])
        # of a layer: "dynamic" is the typical number of neighbours
        n_edges, n_angles = (
            getattr(repflows.layers[0], f"dynamic_{kind}_sel") for kind in "ea"
        )
        weights = torch.cat(
            [switch / n_edges, environment[:, 1:] * switch / n_edges**0.5], dim=1
        )
        near = self._switch(r[:n_near, 0], repflows.a_rcut_smth, repflows.a_rcut)
        state = State(
            graph=graph,
            angle_starts=angle_starts,
            weights=weights.numpy(),
            angle_weights=(near / n_angles**0.25).numpy(),
            nodes=self._nodes[types],
            edges=edges,
            angles=torch.empty(angle_starts[-1], 1),
            silut=self._silut,
        )
        # deepmd-kit's scale, and its protection of a division and of an arc cosine
        scale = ((1 - 1e-6) / np.pi**0.5) ** 0.5
        directions = vectors[:n_near] * (scale / (r[:n_near] + 1e-6))
        state.run(
            find_cosines, graph.starts, angle_starts, directions, state.angles[:, 0]
        )
        return state

    def _switch(self, r: torch.Tensor, smooth: float, cutoff: float) -> torch.Tensor:
        """Return deepmd-kit's switching function of distances in Å."""
        if self._repflows.use_exp_switch:
            rate = 20 / smooth
            return torch.exp(-torch.exp(rate * (r.clamp(max=cutoff) - smooth)))
        u = ((r - smooth) / (cutoff - smooth)).clamp(0, 1)
        return 1 - u**3 * (6 * u**2 - 15 * u + 10)


def _embed_charge_and_spin(descriptor: Any) -> torch.Tensor:
    """Return what the default charge and spin add to the features of every atom."""
    charge, spin = torch.tensor(descriptor.default_chg_spin).to(torch.int64)
    # deepmd-kit's first embedding is that of the charge -100
    both = descriptor.chg_embedding(charge + 100), descriptor.spin_embedding(spin)
    embedded: torch.Tensor = descriptor.act(descriptor.mix_cs_mlp(torch.cat(both)))
    return embedded
