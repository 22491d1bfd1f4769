"""The README's Python example does what it says."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_readme_example_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})
    share = float(capsys.readouterr().out)
    assert 0 <= share <= 1
