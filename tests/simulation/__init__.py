"""Deterministic simulation: one seed drives a whole engine and the world around it.

That is the clock, the scheduler, the model, the tools, the clients, the disk and the crashes. What
turnlog promises is checked all the time.

    scenario.py    what may happen, as data; drawn from a seed
    acts.py        what clients, disks and crashes do, one class each: add a new one here
    ports.py       the model, the tools, the context, the clock and the log of such a world
    workspace.py   the files that such a world's tools write
    world.py       the engine's lives, one after the other, and the clients around them
    properties.py  what is checked, at every step and in the end
    running.py     one scenario, from its first task to its outcome
    shrinking.py   the least of a failing scenario that still fails
"""
