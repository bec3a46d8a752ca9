"""InitProducerId (key 22): a producer id and epoch."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Bool, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, field


class InitProducerIdRequest(Request, key=ApiKey.INIT_PRODUCER_ID, versions="0-6", flexible="2+"):
    """For an idempotent producer (null transactional id), or for a transactional one.

    Its predecessors are fenced.

    Versions: 3 keep the id and bump its epoch after an error (KIP-360); 4 PRODUCER_FENCED (KIP-588); 5
    TRANSACTION_ABORTABLE (KIP-890); 6 two-phase commit (KIP-939), which Kafka 4.4 still holds to be unstable.
    """

    transactional_id: String | None  # null: idempotent alone
    transaction_timeout_ms: Int32
    producer_id: Int64 = field(versions="3+", default=-1)
    producer_epoch: Int16 = field(versions="3+", default=-1)
    enable_2pc: Bool = field(versions="6+", default=False)
    keep_prepared_txn: Bool = field(versions="6+", default=False)


class InitProducerIdResponse(Response, key=ApiKey.INIT_PRODUCER_ID, versions="0-6", flexible="2+"):
    """The producer id and epoch to use.

    Versions: 6 the transaction that was kept in its prepared state (KIP-939).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16
    producer_id: Int64 = -1
    producer_epoch: Int16
    ongoing_txn_producer_id: Int64 = field(versions="6+", default=-1)
    ongoing_txn_producer_epoch: Int16 = field(versions="6+", default=-1)
