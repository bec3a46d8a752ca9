"""Appends by a follower: the leader's bytes, as they are."""

from __future__ import annotations

from blumfeld.protocol.errors import ErrorCode
from tests.storage.builders import LogBench, batch, marker, ranges, sized_batch


def test_offsets_and_epochs_are_kept(bench: LogBench) -> None:
    data = batch(b"a", b"b", base_offset=10, leader_epoch=3) + batch(b"c", base_offset=15, leader_epoch=4)
    result = bench.follow(data)
    assert (result.base_offset, result.last_offset) == (10, 15)
    assert bench.log.log_end_offset == 16
    assert bench.log.epochs.entries == [(3, 10), (4, 15)]
    assert bytes(bench.read(0).records) == bytes(data)


def test_a_read_only_buffer_is_written_unchanged(bench: LogBench) -> None:
    data = bytes(batch(b"a", base_offset=0, leader_epoch=1))
    bench.follow(data)
    assert bytes(bench.read(0).records) == data


def test_a_cut_last_batch_is_left_out(bench: LogBench) -> None:
    whole = batch(b"a", base_offset=0)
    torn = batch(b"b" * 100, base_offset=1)
    for missing in (1, 99, len(torn) - 12, len(torn) - 3):
        bench.log.truncate_to(0)
        bench.follow(whole + torn[:-missing])
        assert ranges(bench.read(0).records) == [(0, 0)]
    result = bench.follow(torn[:50])
    assert (result.base_offset, result.last_offset) == (-1, -1)


def test_offsets_that_the_log_has_are_refused(bench: LogBench) -> None:
    bench.follow(batch(b"a", b"b", base_offset=0))
    result = bench.log.append_as_follower(batch(b"c", base_offset=1))
    assert result.error is ErrorCode.OFFSET_OUT_OF_RANGE
    overlapping = batch(b"c", base_offset=5) + batch(b"d", base_offset=5)
    assert bench.log.append_as_follower(overlapping).error is ErrorCode.OFFSET_OUT_OF_RANGE
    assert bench.log.log_end_offset == 2


def test_damage_on_the_way_is_noticed(bench: LogBench) -> None:
    data = batch(b"a", base_offset=0)
    data[-1] ^= 1
    assert bench.log.append_as_follower(data).error is ErrorCode.CORRUPT_MESSAGE
    assert bench.log.append_as_follower(bytes(100)).error is ErrorCode.CORRUPT_MESSAGE
    assert bench.log.log_end_offset == 0


def test_what_is_larger_than_a_segment_goes_into_several(bench: LogBench) -> None:
    bench.configure(segment_bytes=2500)
    fetched = bytearray()
    for offset in range(7):
        fetched += sized_batch(1000, base_offset=offset)
    result = bench.follow(fetched)
    assert (result.base_offset, result.last_offset) == (0, 6)
    assert [segment.base_offset for segment in bench.log.segments] == [0, 2, 4, 6]
    assert bench.read_all() == list(range(7))


def test_every_batch_can_be_indexed(bench: LogBench) -> None:
    fetched = bytearray()
    for offset in range(20):
        fetched += sized_batch(1000, base_offset=offset)
    bench.follow(fetched)
    assert bench.log.active.offset_index.all() == [(5, 5000), (10, 10000), (15, 15000)]


def test_sequences_and_transactions_are_noted_but_not_judged(bench: LogBench) -> None:
    bench.follow(
        batch(b"a", base_offset=0, producer_id=1, producer_epoch=5, base_sequence=40, transactional=True)
        + batch(b"b", base_offset=1, producer_id=1, producer_epoch=5, base_sequence=70, transactional=True)
    )
    bench.commit()
    assert bench.log.producers.by_id[1].last_sequence == 70
    assert bench.log.last_stable_offset == 0
    abort = marker(commit=False, producer_id=1, producer_epoch=5)
    abort[0:8] = (2).to_bytes(8, "big")
    bench.follow(abort)
    bench.commit()
    assert bench.log.last_stable_offset == 3
    assert [aborted.first_offset for aborted in bench.log.aborted_transactions(0, 3)] == [0]
