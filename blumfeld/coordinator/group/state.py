"""The states of a classic group.

                      ┌────────────── all members left ──────────────┐
                      ▼                                              │
    Empty ──join──▶ PreparingRebalance ──all joined, or timeout──▶ CompletingRebalance ──leader's sync──▶ Stable
                      ▲                                              │                                      │
                      └──── join with other metadata, leave, failure ┴──────────────────────────────────────┘

A group that is deleted is forgotten; clients are told that it is Dead.
"""

from __future__ import annotations

from enum import Enum


class GroupState(Enum):
    """Kafka's names, as clients see them."""

    EMPTY = "Empty"
    """No members; there may be offsets."""
    PREPARING_REBALANCE = "PreparingRebalance"
    """Members are asked to join; joins are parked."""
    COMPLETING_REBALANCE = "CompletingRebalance"
    """All have joined; the leader's assignment is awaited, syncs are parked."""
    STABLE = "Stable"
    """Every member has its assignment."""


DEAD = "Dead"
"""What a group that does not exist is described as."""
