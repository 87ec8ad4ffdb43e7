"""Training: networks learn from a data set, on any number of ranks, the same way.

Who owns what: ``TrainSettings`` what is asked for, ``Target`` what is learned, ``ModelFolder``
where files lie; ``Candidates`` the rows that can be learned from, ``Split`` which of them is where,
``TrainingData`` their examples and values; ``train`` the runs that one folder holds (its network,
the sizes of a learning curve, the members of an ensemble), ``Run`` one of them from its data to
its files, ``Fit`` its weights on their way from first to best, ``World`` the ranks it is on.

Names that need torch are imported when they are asked for: reading settings needs none.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
