"""``hpcml generate`` with calculations that take as long as the molecule's name says.

slow_hpcml.py generate CAMPAIGN.toml --run DIR
"""

import sys
from pathlib import Path

from hpcml import config
from hpcml.cluster import RunFolder
from hpcml.generation import generate
from hpcml.molecules import read

if __name__ == "__main__":
    _, _, campaign, _, run = sys.argv
    settings = config.load(Path(campaign))
    report = generate(
        RunFolder(run),
        read(Path(settings.molecules.source)),
        settings.level,
        settings.properties,
        settings.site,
        calculator="faulty:compute",
    )
    print(report)
    sys.exit(85 if report.stopped else 0)
