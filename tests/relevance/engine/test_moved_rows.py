"""Whose rows a move makes, told by the rows alone, is what moving every cell tells."""

import pytest
import torch

from hpcml.relevance.engine import moves
from hpcml.relevance.engine.calls import Call
from hpcml.relevance.engine.owners import Owner
from hpcml.relevance.engine.tape import Tag, put_tag

ATOMS = 12
HERE, THERE = torch.tensor([3, 0, 3, 1]), torch.arange(6) > 2
MOVES = {
    "features side by side": ("cat", lambda x, y: torch.cat([x, x], -1)),
    "another's features": ("cat", lambda x, y: torch.cat([x, y], 1)),
    "rows below rows": ("cat", lambda x, y: torch.cat([x, y])),
    "halves of features": ("chunk", lambda x, y: torch.chunk(x, 2, 1)),
    "halves of rows": ("split", lambda x, y: torch.split(x, [2, 4])),
    "rows twice": ("repeat", lambda x, y: x.repeat(2, 1)),
    "features twice": ("repeat", lambda x, y: x.repeat(1, 2)),
    "chosen rows": ("index_select", lambda x, y: torch.index_select(x, 0, HERE)),
    "chosen features": ("index_select", lambda x, y: torch.index_select(x, 1, HERE)),
    "rows by number": ("getitem", lambda x, y: x[HERE]),
    "rows by mask": ("getitem", lambda x, y: x[THERE]),
    "every second row": ("getitem", lambda x, y: x[::2]),
    "one feature": ("getitem", lambda x, y: x[:, 1]),
    "features": ("getitem", lambda x, y: x[:, 1:]),
    "an axis more": ("getitem", lambda x, y: x[:, None]),
    "an axis before": ("getitem", lambda x, y: x[None, :]),
}


class Seen(torch.overrides.TorchFunctionMode):
    """Keeps the call of one function."""

    def __init__(self, name):
        super().__init__()
        self.name, self.call = name, None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if moves.tensors_in(args) and function.__name__.strip("_") == self.name:
            self.call = Call(self.name, function, args, kwargs or {})
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", MOVES)
def test_rows_tell_what_cells_tell(name):
    torch.manual_seed(0)
    owners = []
    for first in (0, 5):
        atoms = torch.arange(first, first + 6)
        owners.append(Owner(torch.arange(6) // 2, torch.stack([atoms, atoms.flip(0)]), ATOMS))
    x, y = (put_tag(torch.randn(6, 4, requires_grad=True), Tag(owner, 0)) for owner in owners)
    function, work = MOVES[name]
    with Seen(function) as seen:
        result = work(x, y)
    call = seen.call
    made = moves.tensors_in((result,))
    kept = moves._keeps_rows(call)
    found = [call.owners[0]] * len(made) if kept else moves._owners(call, ATOMS)
    for place, tensor in enumerate(made):

        def cells(parts, place=place):
            one = work(*parts, *[y] * (2 - len(parts)))
            return one if isinstance(one, torch.Tensor) else one[place]

        shapes = [signal.shape for signal in call.signals]
        expected = Owner.moved(call.owners, shapes, cells).like(tensor.shape)
        ours = found[place].like(tensor.shape)
        assert torch.equal(ours.molecule, expected.molecule)
        assert torch.equal(ours.atoms, expected.atoms)
