"""Records what Apache Kafka's classes make of messages that no oracle in Python knows.

    python -m tests.interop.record_messages

Needs Java. $KAFKA_LIBS names the jars, so that another release can be asked; the file is named after it. Samples
that another file holds already are left to it. Look at the difference before keeping it: what is recorded is the
truth from then on.
"""

from __future__ import annotations

import re

from tests.interop.java import kafka_jars
from tests.protocol.messages.catalogue import Versioned
from tests.protocol.messages.oracles import Kafka
from tests.protocol.messages.recordings import FOLDER, Recording, recordings, write
from tests.protocol.messages.samples import samples
from tests.protocol.messages.test_gaps import gaps


def main() -> None:
    jars = kafka_jars()
    release = "kafka-" + next(found[1] for jar in jars if (found := re.search(r"kafka-clients-([\d.]+)\.jar", jar)))
    elsewhere = {recording.subject for recording in recordings() if recording.release != release}
    kafka = Kafka(jars)
    recorded = [
        recording for subject in gaps() if subject not in elsewhere for recording in record(kafka, subject, release)
    ]
    kafka.close()
    write(FOLDER / f"{release}.jsonl", recorded)
    print(f"{release}: {len(recorded)} samples of {len({recording.subject for recording in recorded})} messages")


def record(kafka: Kafka, subject: Versioned, release: str) -> list[Recording]:
    """Distinct samples as Kafka writes them; none where these jars do not know the message."""
    asked = {message.encode(subject.version): None for message in samples(subject)}
    answers = [kafka.ask(subject, data) for data in asked]
    return [Recording(subject, answer.data, answer.fields, release) for answer in answers if answer is not None]


if __name__ == "__main__":
    main()
