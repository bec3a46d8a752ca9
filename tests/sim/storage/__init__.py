"""The seeded simulation of storage: one log on a disk that forgets, against a plain model.

`python -m tests.sim.storage --seeds N` runs it; `world.py` has the actions, `model.py` the truth, `checks.py` the
invariants.
"""
