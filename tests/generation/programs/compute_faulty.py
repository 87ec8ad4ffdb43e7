"""``hpcml compute`` with a calculator that goes wrong by the molecule's name."""

import sys

from hpcml.cli.main import main
from hpcml.generation import foreground

foreground.CALCULATOR = "faulty:compute"
sys.exit(main(["compute", "--method", "HF", "--basis", "STO-3G", *sys.argv[1:]]))
