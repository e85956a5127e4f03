"""The README's task of one's own, as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

README = Path(__file__).parents[2] / "README.md"


def test_it_trains_and_is_judged_by_its_own_figure(tiny, tmp_path):
    code = re.search(r"<!-- a test runs this file -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)[1]
    (tmp_path / "graded.py").write_text(code)
    recipe = {**tiny(tmp_path / "run"), "task": "graded", "options": {"exponent": 1.0}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "graded.py", "train", "--recipe", "recipe.yaml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert -1 <= metrics["test"]["kappa"] <= 1
    assert "kappa" in (tmp_path / "run" / "report.html").read_text()
