"""Run the tutorial anew and keep what it prints: python docs/site/run_tutorial.py [--to FILE]."""

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs/tutorial.ipynb"


def main() -> None:
    """Write the notebook with its outputs; an error in a cell is an error here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=TUTORIAL)
    target = parser.parse_args().to
    os.environ["PYTHONPATH"] = str(ROOT)
    notebook = nbformat.read(TUTORIAL, as_version=4)
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)  # times of day
        # progress bars and warnings of the run are none of the reader's
        if "outputs" in cell:
            cell["outputs"] = [one for one in cell["outputs"] if one.get("name") != "stderr"]
    nbformat.write(notebook, target)


if __name__ == "__main__":
    main()
