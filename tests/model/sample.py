"""Schedules of the real code drawn by lot, where there are too many to walk them all. A seed is a schedule."""

from __future__ import annotations

from random import Random

from tests.model.world import Move, Setting, World

STOP = 0.04  # the chance, at each move, that everything is killed there


def schedule(setting: Setting, seed: int) -> list[Move]:
    """Play the schedule of this seed, kill everything at its end, clear the task: all must be well.

    Raises:
        AssertionError: it isn't; the message holds the seed and the moves.
    """
    lot, world, moves = Random(seed), World(setting), list[Move]()
    try:
        while possible := world.moves():
            if lot.random() < STOP:
                break
            moves.append(lot.choice(possible))
            world.move(moves[-1])
            world.check()
        world.settle()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error} after {' '.join(f'{w}:{n}' for w, n in moves)}") from error
    return moves
