"""The ledger: an append-only, hash-chained record of everything that happened to every interchange."""

from slussen.ledger.book import Conflict, Ledger, as_named, written
from slussen.ledger.chain import Verification
from slussen.ledger.states import Event, Interchange

__all__ = ["Conflict", "Event", "Interchange", "Ledger", "Verification", "as_named", "written"]
