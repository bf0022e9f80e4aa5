"""What layerkit does on the command line.

``python -m layerkit`` says what is installed; ``… inspect FILE`` what is in a file of a model or of weights, of which
nothing is run; ``… check-backend NAME`` whether every word of a backend does what its reference does.
"""

from __future__ import annotations

import argparse
import os
import sys

from layerkit.errors import LayerkitError


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m layerkit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    inspect = commands.add_parser("inspect", help="show what is in a file; nothing in it is run")
    inspect.add_argument("file", help="a .layerkit, .safetensors or .npz file")
    check = commands.add_parser("check-backend", help="run every word of a backend against its reference")
    check.add_argument("name", help='the name of a backend: "numpy", "torch", "cupy:1"')
    check.add_argument("words", nargs="*", metavar="word", help="words that are checked: all, if none is given")
    given = parser.parse_args(arguments)
    try:
        text, status = _done(given)
    except (LayerkitError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough: ``| head -1``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _done(given: argparse.Namespace) -> tuple[str, int]:
    """Return the text and the exit status of a command. What it needs is loaded for it alone."""
    if given.command == "inspect":
        from layerkit.saving.inspection import inspected

        return inspected(given.file), 0
    if given.command == "check-backend":
        from layerkit.testing.check_backend import examined

        table = examined(given.name, given.words or None)
        return f"{table}\n", int(bool(table.wrong))
    from layerkit.installed import installed

    return installed(), 0


if __name__ == "__main__":
    sys.exit(main())
