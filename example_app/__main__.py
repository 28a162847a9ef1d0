"""``python -m example_app``: start everything the example needs, and end it with Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys

from .folder import VARIABLE, DataFolder


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m example_app",
        description="A small shop with its worker and a mail server that catches what it sends.",
        epilog=f"PORT chooses the web port; {VARIABLE} the folder that keeps everything.",
    )
    parser.add_argument(
        "--embedded",
        action="store_true",
        help="deliver by a thread of the web server instead of by an RQ worker",
    )
    options = parser.parse_args()
    if os.name != "posix":
        print("The example needs a Unix system; Linux, macOS or WSL will do.", file=sys.stderr)
        return 1
    from .supervisor import CannotStart, Supervisor  # noqa: PLC0415  (it needs a Unix system)

    try:
        supervisor = Supervisor(DataFolder.from_environment(), embedded=options.embedded)
        return supervisor.run(os.environ.get("PORT") or None)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
