"""Seeded simulation of a cluster: controller deciders, partition state machines and logs on disks that forget.

`python -m tests.sim.cluster --seeds 300`. The metadata log itself is taken for granted here (`tests/sim/raft` has
that): what the controller appends is committed a little later, or lost when the controller fails over. Everything
else is real: deciders, images and deltas, replica managers, partitions, fetch sessions and handlers, followers, log
managers.
"""
