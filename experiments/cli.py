"""`cma-gym VERB`: finds the verbs by scanning this folder and runs one.

A verb is a module with a one-line `SUMMARY`, `add_arguments(parser)` and `run(args) -> exit status`. Only the module of
the verb that was asked for is imported, so that `--help` is instant and a broken verb harms no other.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from cma_gym.experiments.terminal import interrupt

PROGRAM = "cma-gym"
USER_ERROR = 2
INTERRUPTED = 130


def verbs() -> dict[str, str]:
    """Every verb and its one-line summary, read from the sources without importing them."""
    found = {}
    for source in sorted((Path(__file__).parent / "verbs").glob("[a-z]*.py")):
        summary = _summary(source)
        if summary is not None:
            found[source.stem.replace("_", "-")] = summary
    return found


def _summary(source: Path) -> str | None:
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "SUMMARY" for target in targets):
            return str(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def verb_module(verb: str) -> ModuleType:
    """The module that runs `verb`."""
    return importlib.import_module(f"cma_gym.experiments.verbs.{verb.replace('-', '_')}")


def verb_parser(verb: str) -> tuple[argparse.ArgumentParser, ModuleType]:
    """The argument parser of one verb, and its module."""
    module = verb_module(verb)
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {verb}",
        description=module.SUMMARY,
        epilog=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser, module


def usage() -> str:
    """What `--help` prints."""
    lines = [f"usage: {PROGRAM} VERB [arguments]   ({PROGRAM} VERB --help for one verb)", ""]
    lines += [f"  {verb:<14}{summary}" for verb, summary in verbs().items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb named on the command line and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else USER_ERROR
    verb = words[0]
    if verb not in verbs():
        near = difflib.get_close_matches(verb, verbs(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"{PROGRAM} --help lists them"
        print(f"there is no verb {verb!r}; {hint}", file=sys.stderr)
        return USER_ERROR
    parser, module = verb_parser(verb)
    args = parser.parse_args(words[1:])
    try:
        return int(module.run(args))
    except KeyboardInterrupt:
        print(f"\ninterrupted; {verb} stopped, and what it had finished is kept", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, BrokenPipeError) or _is_bug(error):
            raise
        print(f"{verb}: {_sentence(error)}", file=sys.stderr)
        return USER_ERROR


def _is_bug(error: Exception) -> bool:
    """Whether this is an accident of ours rather than a mistake of the user: a plain ValueError, a broken import."""
    if isinstance(error, OSError):
        return error.filename is None
    if isinstance(error, ImportError):
        return not getattr(error, "name", None) or str(error.name).split(".")[0] == "cma_gym"
    return type(error) is ValueError or not type(error).__module__.startswith("cma_gym")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ImportError):
        return f"the Python package {error.name!r} is missing; install it with: pip install -e '.[train,plot,trace]'"
    return " ".join(str(error).split())


def program() -> None:
    """The console script: run a verb and end the process with its exit status."""
    interrupt.install()
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)
