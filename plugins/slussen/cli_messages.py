"""The command line's part for messages: what a person has found out about one that nobody knows the fate of."""

from __future__ import annotations

from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(arrived)


def arrived(
    interchange: Annotated[str, typer.Argument(help="The interchange whose message is unknown.")],
    yes: Annotated[bool, typer.Option("--yes/--no", help="What the partner says: has it arrived?")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so; it stands in the ledger.")],
) -> None:
    """Settle a message whose reply was lost, and whose receipt doesn't come: after asking the partner.

    With --no it may be sent again: make sure that no attempt of it is still running, then clear its deliver.

    Example: slussen arrived csn_inack-20260112T080000Z --yes --by "Jour 3"
    """
    from slussen import settings
    from slussen.ledger import Ledger
    from slussen.messaging import settle

    settle(Ledger(settings.database()), interchange, arrived=yes, by=by)
    print(f"{interchange}: {'delivered' if yes else 'not sent; clear deliver to send it'}, says {by}")
