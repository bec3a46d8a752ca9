"""CRC-32C by its published check values, loaded without the package around it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from blumfeld.protocol.checksum import crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)],
)
def test_check_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected
    assert crc32c(memoryview(bytearray(b"??" + data))[2:]) == expected


def test_the_package_is_not_imported_and_still_can_be() -> None:
    code = (
        "import sys; import blumfeld.protocol.checksum as ours; lean = 'importlib.metadata' not in sys.modules\n"
        "import crc32c; print(lean, crc32c.crc32c(b'a') == ours.crc32c(b'a'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
