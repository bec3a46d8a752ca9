"""SCRAM credentials, access control entries, delegation tokens and client quotas, kept as they were written.

Nothing here is interpreted yet: these records are held so that snapshots lose nothing and a cluster that has them can
move.
Invariant: what `to_records()` writes is what was replayed, less what later records removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from blumfeld.protocol.messages.metadata_log import (
    AccessControlEntryRecord,
    ClientQuotaRecord,
    DelegationTokenRecord,
    UserScramCredentialRecord,
)
from blumfeld.protocol.schema import Record

QuotaEntity = frozenset[tuple[str, str | None]]
"""(entity type, entity name or None for the default) pairs."""


class SecurityImage(NamedTuple):
    """Credentials by (user, mechanism), ACLs by id, tokens by id, quotas by entity and key."""

    scram: Mapping[tuple[str, int], UserScramCredentialRecord] = {}
    acls: Mapping[bytes, AccessControlEntryRecord] = {}
    tokens: Mapping[str, DelegationTokenRecord] = {}
    quotas: Mapping[QuotaEntity, Mapping[str, float]] = {}

    def to_records(self) -> Iterator[Record]:
        yield from self.scram.values()
        yield from self.acls.values()
        yield from self.tokens.values()
        for entity, quotas in self.quotas.items():
            for key, value in quotas.items():
                yield ClientQuotaRecord(
                    entity=[
                        ClientQuotaRecord.Entity(entity_type=kind, entity_name=name)
                        for kind, name in sorted(entity, key=lambda pair: (pair[0], pair[1] or ""))
                    ],
                    key=key,
                    value=value,
                    remove=False,
                )


class SecurityDelta:
    """Replays credentials, ACLs, tokens and quotas. Rare and small: whole dictionaries are copied."""

    __slots__ = ("acls", "quotas", "scram", "tokens")

    def __init__(self, image: SecurityImage) -> None:
        self.scram = dict(image.scram)
        self.acls = dict(image.acls)
        self.tokens = dict(image.tokens)
        self.quotas = {entity: dict(quotas) for entity, quotas in image.quotas.items()}

    def replay_quota(self, record: ClientQuotaRecord) -> None:
        entity = frozenset((e.entity_type, e.entity_name) for e in record.entity)
        quotas = self.quotas.setdefault(entity, {})
        if record.remove:
            quotas.pop(record.key, None)
        else:
            quotas[record.key] = record.value
        if not quotas:
            del self.quotas[entity]

    def apply(self) -> SecurityImage:
        return SecurityImage(self.scram, self.acls, self.tokens, self.quotas)
