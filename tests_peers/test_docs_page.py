"""The page docs/any_model.md does what it says."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "any_model.md"


def test_chemprop_in_ten_lines():
    (code,) = re.findall(r"```python\n(from chemprop.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("from ")]
    assert len(lines) <= 10
    told: dict = {}
    exec(code, told)
    found, colours = told["found"], told["colours"]
    assert colours.shape == (len(found.molecule), 4)
    assert float(found.closure.abs().max()) < 1e-5
    most = int(found.atoms.abs().argmax())
    assert abs(colours[most, 0] - colours[most, 2]) == abs(colours[:, 0] - colours[:, 2]).max()
