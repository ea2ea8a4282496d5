"""`producer-twin generate`."""

from __future__ import annotations

from typing import Annotated

import typer

from producer_twin.cli import making
from producer_twin.cli.options import Delivery, TrackOptions, with_option_groups


@with_option_groups
def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="A description of the music.")],
    options: TrackOptions,
    delivery: Delivery,
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", help="The length.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Cut to whole bars, to be repeated; needs a tempo.")] = False,
) -> None:
    """Make a track, and write it to a file."""
    own = {"duration_seconds": seconds, "loop": loop or None}
    run = making.submit if delivery.submit else making.make
    run(context, prompt, options, own, delivery)
