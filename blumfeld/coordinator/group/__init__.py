"""Groups: pure machines, one for each partition of `__consumer_offsets`.

machine.py        the door: every request, every deadline, replay
classic.py        a classic group: state, members, votes        member.py, state.py
join.py, sync.py  decisions of the classic protocol             rebalance.py: what they share
offset_store.py   committed offsets                             offsets.py: decisions about them
overview.py       describe, list, delete; expiry.py: the sweep
records.py        Kafka's record formats, key and value
"""
