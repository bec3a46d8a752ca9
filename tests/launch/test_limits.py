"""Limits of a whole broker process: memory, open files."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blumfeld.config.sources import load
from blumfeld.launch.open_files import bound_open_files
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.find_coordinator import FindCoordinatorRequest
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest
from blumfeld.protocol.messages.produce import ProduceRequest
from blumfeld.protocol.records import Record, build_batch
from blumfeld.testing import Cluster
from tests.raw import Raw

MIB = 1 << 20


def append(raw: Raw, topic: str, size: int) -> int:
    """Append one record of `size` bytes; the error code."""
    batch = build_batch([Record(0, int(time.time() * 1000), b"k", bytes(size))])
    partition = ProduceRequest.Topic.Partition(index=0, records=batch)
    data = ProduceRequest.Topic(name=topic, partition_data=[partition])
    answer = raw.ask(ProduceRequest(acks=1, timeout_ms=1000, topic_data=[data]), 9)
    return int(answer.responses[0].partition_responses[0].error_code)


def commit(raw: Raw, topic: str) -> int:
    """Commit an offset from outside a group; the error code."""
    partition = OffsetCommitRequest.Topic.Partition(partition_index=0, committed_offset=1, committed_metadata="")
    request = OffsetCommitRequest(
        group_id="group", member_id="", topics=[OffsetCommitRequest.Topic(name=topic, partitions=[partition])]
    )
    return int(raw.ask(request, 8).topics[0].partitions[0].error_code)


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def log_lines(cluster: Cluster, containing: str) -> list[str]:
    return [line for line in Path(cluster.broker.process.log_file).read_text().splitlines() if containing in line]


def test_a_broker_in_memory_refuses_more_than_it_may_keep_and_goes_on_when_topics_are_deleted() -> None:
    with Cluster(config={"blumfeld.memory.max.bytes": str(8 * MIB)}) as cluster:
        full, other = cluster.kafka.topic(), cluster.kafka.topic()
        with Raw(cluster.bootstrap_servers) as raw:
            raw.ask(FindCoordinatorRequest(key="group"), 1)  # makes the offsets topic
            wait_until(lambda: commit(raw, full) == ErrorCode.NONE)
            taken = 0
            while append(raw, full, 500_000) == ErrorCode.NONE:
                taken += 500_000
            assert 7 * MIB < taken < 8 * MIB
            for _ in range(20):
                assert append(raw, full, 500_000) == ErrorCode.KAFKA_STORAGE_ERROR
            assert len(log_lines(cluster, "--data")) == 1
            assert commit(raw, full) == ErrorCode.NONE, "coordinators have a reserve"
            cluster.kafka.delete_topic(full)
            wait_until(lambda: append(raw, other, 500_000) == ErrorCode.NONE)
            assert cluster.kafka.offsets(other) == {0: 1}
        assert len(log_lines(cluster, "offline")) == 0


FROM_256_FILES = """
import resource
from blumfeld.launch.open_files import raise_open_files
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
print(raise_open_files(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_of_open_files_goes_up_to_the_hard_one() -> None:
    pytest.importorskip("resource")
    run = subprocess.run([sys.executable, "-c", FROM_256_FILES], capture_output=True, check=True, text=True)
    answered, soft, hard = run.stdout.split()
    assert answered == soft
    assert soft == hard or int(hard) < 0


@pytest.mark.parametrize(
    ("limit", "files"), [(None, 4096), (8192, 4096), (8190, 4095), (1024, 512), (128, 64), (20, 64)]
)
def test_segment_files_take_half_of_what_the_process_may_open(limit: int | None, files: int) -> None:
    config = bound_open_files(load(), limit)
    assert config.int("blumfeld.max.open.files") == files
    assert config.origin("blumfeld.max.open.files") == (
        "default" if files == 4096 else f"this process may open {limit} files"
    )
