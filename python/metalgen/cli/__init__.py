"""The command line, the only place that prints."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with the process's arguments and leave with its exit status."""
    from metalgen.cli.failure import reported

    try:
        from metalgen.cli.app import make_app

        make_app(sys.argv[1:])(prog_name="metalgen")
    except (Exception, KeyboardInterrupt) as error:  # before a command ran: they answer their own
        sys.exit(reported(error))
