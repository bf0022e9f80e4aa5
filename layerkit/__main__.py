"""``python -m layerkit inspect FILE`` shows what is in a file of a model or of weights; nothing in it is run."""

from __future__ import annotations

import argparse
import sys

from layerkit.errors import LayerkitError
from layerkit.saving.inspection import inspected


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m layerkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="show what is in a file", description=__doc__)
    inspect.add_argument("file", help="a .layerkit, .safetensors or .npz file")
    given = parser.parse_args(arguments)
    try:
        text = inspected(given.file)
    except (LayerkitError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
