"""Seeded simulation of the raft core: `python -m tests.sim.raft --seeds 1000`, or `--seed 42` to replay one.

One seed, one universe: the number of replicas, their clocks, disks and network, every fault and every message's way
follow from it. Invariants are checked after each step (`invariants.py`); what the world does is in `world.py`, a
replica's body (its disk, its clock, its state machine) in `replica.py`, its disk in `disk.py`; `plants.py` breaks the
core on purpose, to see that it is noticed.
"""
