"""``python -m hpcml``: the command line, for where the script ``hpcml`` is not on the path."""

import sys

from hpcml.cli.main import main

sys.exit(main())
