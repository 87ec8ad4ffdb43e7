"""What each atom was worth to a prediction, and a ledger of everything else.

How the backward *is* the rule.  Layer-wise relevance propagation (LRP) hands the relevance of a
layer's outputs to its inputs, R_i = a_i sum_j w_ij R_j / z_j and the like, from the prediction
down to the atoms.  That is the order in which autograd visits a network; only its chain rule is
another.  So, while a ``Trace`` is open,

1. every layer's forward is exchanged for its *handler*.  It computes the layer's ordinary
   output without a graph, by the layer's own code, so that predictions are bit for bit those
   of the network, and puts it on the *tape* as one ``step``.
2. a step is an autograd function that hands its output through and whose backward is not a
   derivative but the LRP rule: it gets the relevance of the outputs and returns that of the
   inputs.  Gradients between steps are those of moves alone (slices, gathers), which move
   relevance as they move numbers.  "The gradient of a tensor" thus reads "its relevance".
3. one ordinary backward, begun with the prediction itself, leaves on every network input its
   relevance: for all molecules of a batch at the cost of about one training step.
4. what a rule gives to no input (a bias, the stabilizer, a Taylor remainder, the target's mean,
   an element's reference) the same backward books in the *ledger*, by layer, by molecule, and by
   the atom at whose row it was taken.  Relevances and ledger add up to the prediction.
5. each tensor carries a *tag*: what its rows stand for (atom, pair, molecule), how many affine
   layers lie below it, and, just behind an affine layer, that layer itself, so that sums and
   batch normalizations behind it become one layer with it, as if the code were cut otherwise.

``engine/`` holds rules (a rule is a declaration), handlers (one a layer type), tape and trace;
``propagation`` the call ``explain``; ``comparators`` other answers to the same question.  A rule
of one's own is a ``Rule`` or ``Composite`` given to ``explain``, or a name in the entry point
group ``hpcml.rules``; a layer of one's own is declared with ``declare``.

Names are imported when they are asked for: reading relevances needs no torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
