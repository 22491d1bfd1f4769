"""The command line: every verb explains itself, mistakes get one sentence, documented commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cma_gym.experiments.cli import main, verb_parser, verbs

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.exists()]
EXPECTED = "run train evaluate distill export compare report validate import-trace list".split()


def test_all_verbs_are_there() -> None:
    assert set(EXPECTED) <= set(verbs())


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser, module = verb_parser(verb)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--help"])
    assert ended.value.code == 0
    assert module.SUMMARY in " ".join(capsys.readouterr().out.split())
    assert callable(module.run)


def test_help_is_quick_and_lists_the_verbs() -> None:
    done = subprocess.run([sys.executable, "-m", "cma_gym", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in verbs())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["compar"], "did you mean compare?"),
        (["zzz"], "--help lists them"),
        (["compare", "--workload", "phone", "--systems", "cma_frist"], "did you mean 'cma_first'?"),
        (["compare", "--workload", "phone", "--seeds", "x"], "write 0:10"),
        (["compare", "--workload", "phone", "--machine", "twin_64"], "did you mean"),
        (["compare", "--workload", "phone", "--set", "machine.ram=3"], "did you mean 'ram_mb'?"),
        (["compare", "--workload", "nothing.npz"], "no such workload file"),
        (["compare", "--workload", "phone", "--systems", "cma_first", "--baseline", "x"], "not among the systems"),
        (["compare", "--workload", "phone", "--systems", "nowhere.json"], "nowhere.json: cannot be read"),
        (["validate", "nowhere.csv"], "cannot be read"),
        (["report", "nowhere.csv"], "cannot be read"),
        (["run", "configs/train/quik.yaml"], "did you mean configs/train/quick.yaml?"),
        (["run", "configs/train/quick.yaml", "--set", "ppo.lerning_rate=1"], "did you mean 'learning_rate'?"),
        (["export", "nowhere.json"], "nowhere.json"),
        (["evaluate", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_get_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


def commands(path: Path) -> list[str]:
    """Every command in a document's code, continuation lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    return re.findall(r"(?:^|(?<=[`/ ]))(?:cma-gym|make) [^\n`#]*", code, flags=re.MULTILINE)


def test_every_documented_command_parses() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for path in DOCUMENTS:
        for command in commands(path):
            words = shlex.split(command)
            if words[0] == "make":
                assert words[1] in targets, f"{path.name}: {command}"
            elif words[1] != "VERB":
                assert words[1] in verbs(), f"{path.name}: {command}"
                parser, _ = verb_parser(words[1])
                parser.parse_args(words[2:])  # exits if it does not parse
