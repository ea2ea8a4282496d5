"""The command `producer-twin`. Its packages come with `pip install 'producer-twin[cli]'`."""

from __future__ import annotations


def main() -> None:
    try:
        from producer_twin.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        raise SystemExit("the command line needs further packages: pip install 'producer-twin[cli]'") from None
    run()
