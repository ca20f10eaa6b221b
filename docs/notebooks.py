"""The notebooks of `examples`, run again with what they show: `python docs/notebooks.py`."""

import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

EXAMPLES = Path(__file__).parents[1] / "examples"
KEPT = ("kernelspec", "language_info")  # of what a notebook says about itself, no more than names


def run(path: Path) -> None:
    """From top to bottom, in an empty folder; what was printed and drawn is kept, times and versions are not."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=folder)
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if len(data) > 1:  # what a reader of the file sees is the picture, or the table
                data.pop("text/plain", None)
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": spec, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in sys.argv[1:] or ("first_look", "vanishing_gradients"):
        run(EXAMPLES / f"{name}.ipynb")
