"""The small text files: what we write is Kafka's, what Kafka writes we read."""

from __future__ import annotations

import pytest

from blumfeld.storage import checkpoint
from blumfeld.storage.epochs import MalformedCheckpoint

TOPIC_ID = bytes(range(16))


def test_offsets() -> None:
    offsets = {("b", 0): 7, ("a-topic", 10): 0, ("a-topic", 2): 5}
    text = b"0\n3\na-topic 2 5\na-topic 10 0\nb 0 7\n"
    assert checkpoint.encode_offsets(offsets) == text
    assert checkpoint.decode_offsets(text) == offsets
    assert checkpoint.decode_offsets(b"") == {}
    assert checkpoint.decode_offsets(b"0\n0\n") == {}


@pytest.mark.parametrize(
    "text", [b"1\n0\n", b"0\n2\na 0 1\n", b"0\n1\na 0\n", b"0\nx\n", b"0", b"0\n1\na 0 1 2\n", b"\xff"]
)
def test_malformed_offsets(text: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        checkpoint.decode_offsets(text)


def test_the_clean_shutdown_file() -> None:
    assert checkpoint.encode_clean_shutdown(42) == b'{"version":0,"brokerEpoch":42}'
    assert checkpoint.decode_clean_shutdown(b'{"version":0,"brokerEpoch":42}') == 42
    assert checkpoint.decode_clean_shutdown(b"") == -1
    assert checkpoint.decode_clean_shutdown(b"[]") == -1


def test_properties() -> None:
    written = checkpoint.encode_properties({"version": "1", "cluster.id": "abc="})
    assert checkpoint.decode_properties(written) == {"version": "1", "cluster.id": "abc="}
    java = (
        b"#\n#Mon Nov 23 09:50:09 UTC 2026\ncluster.id=4L6g3nShT-eMCtK--X86sw\nbroker.id = 3\n\n!x\ndirectory.id=a\\=b"
    )
    assert checkpoint.decode_properties(java) == {
        "cluster.id": "4L6g3nShT-eMCtK--X86sw",
        "broker.id": "3",
        "directory.id": "a=b",
    }


def test_partition_metadata() -> None:
    text = checkpoint.encode_partition_metadata(TOPIC_ID)
    assert text.startswith(b"version: 0\ntopic_id: ")
    assert checkpoint.decode_partition_metadata(text) == TOPIC_ID
    assert checkpoint.decode_partition_metadata(text + b"\n") == TOPIC_ID
    assert checkpoint.decode_partition_metadata(b"") is None


@pytest.mark.parametrize(
    "text",
    [
        b"version: 1\ntopic_id: AAECAwQFBgcICQoLDA0ODw",
        b"version: 0\n",
        b"version: 0\ntopic_id: short",
        b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
        b"\0\0\0",
    ],
)
def test_malformed_partition_metadata(text: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        checkpoint.decode_partition_metadata(text)
