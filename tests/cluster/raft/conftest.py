"""The quorum that stories of raft begin with."""

from __future__ import annotations

import pytest

from tests.cluster.raft.quorum import Quorum


@pytest.fixture
def quorum() -> Quorum:
    return Quorum()
