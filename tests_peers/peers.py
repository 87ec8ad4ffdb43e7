"""The models, as their own pages build them: name -> explanation of a batch, and a plain call."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

import hpcml

WIDTH = 8


def made(build):
    """A model with random weights in double precision, statistics of its norms among them."""
    torch.manual_seed(11)
    model = build().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return model


# ------------------------------------------------------------------- torch_geometric


class OverAtoms(nn.Module):
    """A network of torch_geometric, and the sum over its molecules' atoms."""

    def __init__(self, network):
        super().__init__()
        self.network, self.out = network, nn.Linear(WIDTH, 1)

    def forward(self, x, edges, batch):
        from torch_geometric.nn import global_add_pool

        return self.out(global_add_pool(self.network(x, edges), batch))


def pyg(name, **settings):
    import torch_geometric.nn as pyg_nn

    model = made(lambda: OverAtoms(getattr(pyg_nn, name)(4, WIDTH, 2, WIDTH, **settings)))
    return model, lambda m: ((m.x, m.edges, m.batch), {})


def attentive_fp():
    from torch_geometric.nn import AttentiveFP

    model = made(lambda: AttentiveFP(4, WIDTH, 1, 2, num_layers=2, num_timesteps=2))

    def inputs(m):
        kinds = torch.tensor([m.z[i] + m.z[j] for i, j in m.edges.T.tolist()])
        return (m.x, m.edges, torch.stack([kinds, kinds**0], 1).double(), m.batch), {}

    return model, inputs


def triplets(edges, num_nodes):
    """What torch_geometric's ``triplets`` gives, which wants torch-sparse: bonds k -> j -> i."""
    j, i = edges
    into, out_of = (i[:, None] == j).nonzero().T  # edges k -> j, edges j -> i
    keep = j[into] != i[out_of]
    into, out_of = into[keep], out_of[keep]
    order = torch.argsort(out_of, stable=True)
    into, out_of = into[order], out_of[order]
    return i, j, i[out_of], j[out_of], j[into], into, out_of


def of_positions(name):
    """SchNet, DimeNet, DimeNet++: neighbours are given, as torch-cluster is not there."""
    from torch_geometric.nn.models import dimenet, schnet

    def near(positions, r, batch, max_num_neighbors=0):
        same = (batch[:, None] == batch) & (torch.cdist(positions, positions) < r)
        return (same & ~torch.eye(len(batch), dtype=torch.bool)).nonzero().T

    dimenet.radius_graph, dimenet.triplets = near, triplets
    settings = {"cutoff": 3.0, "output_initializer": "glorot_orthogonal"}  # zeros otherwise
    build = {
        "SchNet": partial(
            schnet.SchNet, WIDTH, WIDTH, 2, 6, cutoff=4.0,
            interaction_graph=lambda positions, batch: (
                (e := near(positions, 4.0, batch)),
                (positions[e[0]] - positions[e[1]]).norm(dim=-1),
            ),
        ),
        "DimeNet": partial(dimenet.DimeNet, WIDTH, 1, 2, 4, 3, 3, **settings),
        "DimeNet++": partial(dimenet.DimeNetPlusPlus, WIDTH, 1, 2, 4, 4, 8, 3, 3, **settings),
    }[name]  # fmt: skip
    return made(build), lambda m: ((m.z, m.positions, m.batch), {})


# ------------------------------------------------------------------------ SchNetPack


def schnetpack(name, interactions=2):
    import schnetpack.nn as snn
    from schnetpack import atomistic, representation
    from schnetpack.model import NeuralNetworkPotential

    model = made(
        lambda: NeuralNetworkPotential(
            getattr(representation, name)(
                n_atom_basis=WIDTH,
                n_interactions=interactions,
                radial_basis=snn.GaussianRBF(6, 5.0),
                cutoff_fn=snn.CosineCutoff(5.0),
            ),
            input_modules=[atomistic.PairwiseDistances()],
            output_modules=[atomistic.Atomwise(n_in=WIDTH, output_key="energy")],
        )
    )

    def inputs(m):
        i, j = m.near
        told = {
            "_atomic_numbers": m.z,
            "_positions": m.positions,
            "_idx_i": i,
            "_idx_j": j,
            "_idx_m": m.batch,
            "_offsets": torch.zeros(len(i), 3, dtype=torch.float64),
            "_n_atoms": torch.bincount(m.batch),
        }
        return (told,), {"output": "energy"}

    return model, inputs


# -------------------------------------------------------------------------- chemprop


def chemprop(messages, pooling):
    from chemprop import data, featurizers, models
    from chemprop import nn as cnn

    def build():
        pool = getattr(cnn, pooling)
        pool = pool(output_size=WIDTH) if pooling == "AttentiveAggregation" else pool()
        last = cnn.RegressionFFN(input_dim=WIDTH, hidden_dim=WIDTH)
        return models.MPNN(getattr(cnn, messages)(d_h=WIDTH), pool, last, batch_norm=True)

    def inputs(m):
        featurize = featurizers.SimpleMoleculeMolGraphFeaturizer()
        graphs = data.BatchMolGraph([featurize(molecule) for molecule in m.smiles])
        graphs.V, graphs.E = graphs.V.double(), graphs.E.double()
        return (graphs,), {}

    return made(build), inputs


# ------------------------------------------------------------------------------ MACE


def mace():
    import e3nn
    from e3nn import o3
    from mace.modules import MACE, interaction_classes

    torch.set_default_dtype(torch.float64)
    e3nn.set_optimization_defaults(jit_script_fx=False)  # what TorchScript compiles is not seen
    try:
        block = interaction_classes["RealAgnosticResidualInteractionBlock"]
        model = made(
            lambda: MACE(
                r_max=4.0, num_bessel=4, num_polynomial_cutoff=5, max_ell=2, interaction_cls=block,
                interaction_cls_first=block, num_interactions=2, num_elements=4,
                hidden_irreps=o3.Irreps("4x0e+4x1o"), MLP_irreps=o3.Irreps("4x0e"),
                atomic_energies=np.arange(4.0), avg_num_neighbors=4.0, atomic_numbers=[1, 6, 7, 8],
                correlation=2, gate=torch.nn.functional.silu,
            )
        )  # fmt: skip
    finally:
        torch.set_default_dtype(torch.float32)

    def inputs(m):
        pairs, molecules = m.near.shape[1], int(m.batch[-1]) + 1
        told = {
            "node_attrs": m.x,
            "positions": m.positions,
            "edge_index": m.near,
            "shifts": torch.zeros(pairs, 3, dtype=torch.float64),
            "unit_shifts": torch.zeros(pairs, 3, dtype=torch.float64),
            "cell": torch.zeros(3 * molecules, 3, dtype=torch.float64),
            "batch": m.batch,
            "ptr": torch.cat([torch.zeros(1).long(), torch.bincount(m.batch).cumsum(0)]),
            "head": torch.zeros(molecules, dtype=torch.long),
        }
        silent = (False,) * 6  # training, forces, virials, stress, displacement, Hessian
        return (told, *silent), {"output": lambda o: o["energy"], "of": {"0.node_attrs": "atom"}}

    return model, inputs


PEERS = {
    "PyG GCN": partial(pyg, "GCN", norm="batch"),
    "PyG GIN": partial(pyg, "GIN"),
    "PyG GAT": partial(pyg, "GAT", heads=2),
    "PyG GATv2": partial(pyg, "GAT", heads=2, v2=True),
    "PyG AttentiveFP": attentive_fp,
    "PyG SchNet": partial(of_positions, "SchNet"),
    "PyG DimeNet": partial(of_positions, "DimeNet"),
    "PyG DimeNet++": partial(of_positions, "DimeNet++"),
    "SchNetPack SchNet": partial(schnetpack, "SchNet"),
    "SchNetPack PaiNN": partial(schnetpack, "PaiNN"),
    "chemprop bonds, mean": partial(chemprop, "BondMessagePassing", "MeanAggregation"),
    "chemprop bonds, attentive": partial(chemprop, "BondMessagePassing", "AttentiveAggregation"),
    "chemprop atoms, sum": partial(chemprop, "AtomMessagePassing", "SumAggregation"),
    "MACE": mace,
}


def peer(name):
    """(model, explain: batch -> Relevance, call: batch -> (M,))."""
    model, inputs = PEERS[name]()

    def explain(molecules, rule="epsilon"):
        args, named = inputs(molecules)
        return hpcml.explain(model, args, atoms=molecules.batch, rule=rule, **named)

    def call(molecules):
        args, named = inputs(molecules)
        output = named.get("output")
        value = model(*args)
        value = output(value) if callable(output) else value[output] if output else value
        return value.detach().reshape(-1)

    return SimpleNamespace(model=model, explain=explain, call=call)
