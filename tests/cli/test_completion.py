"""Shell completion: what the shells ask for, and what they are offered."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from blumfeld.testing import Kafka
from tests.cli.shell import PATIENCE_S, Shell, blumfeld, commit, environment

PATIENT = f"""
from blumfeld.cli import completion
from blumfeld.cli.main import main
completion.ASK_S = {PATIENCE_S}
main()
"""


def offered(shell: Shell | None, *words: str) -> set[str]:
    """What bash is offered for the last word, however slow the machine is."""
    env = environment(
        shell.servers if shell else "127.0.0.1:1",
        _BLUMFELD_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(("blumfeld", *words)),
        COMP_CWORD=str(len(words)),
    )
    command = [sys.executable, "-c", PATIENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S, env=env, check=True)
    assert done.stderr == ""
    return {line.partition(",")[2] for line in done.stdout.splitlines() if line}


def test_commands_and_options() -> None:
    assert {"topics", "describe", "dump-log"} <= offered(None, "")
    assert offered(None, "co") == {"consume", "config", "completion"}
    assert "--from-start" in offered(None, "consume", "--fr")


@pytest.mark.parametrize("command", ["describe", "produce", "consume", "topics delete"])
def test_topics(shell: Shell, kafka: Kafka, command: str) -> None:
    topic = kafka.topic()
    assert topic in offered(shell, *command.split(), topic[:-1])
    assert offered(shell, *command.split(), "no-such-topic-") == set()


def test_groups_of_the_cluster_that_is_named(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic()
    commit(shell.servers, f"group-of-{topic}", topic, 0)
    assert offered(None, "groups", "--bootstrap", shell.servers, "group-of-") >= {f"group-of-{topic}"}


def test_properties() -> None:
    assert offered(None, "config", "log.segment.b") == {"log.segment.bytes"}
    for command in ("config", "format", "health", "up"):
        assert offered(None, command, "--set", "log.segment.b") == {"log.segment.bytes"}


def test_a_cluster_that_is_not_there_has_nothing_to_offer_and_says_nothing() -> None:
    assert offered(None, "describe", "") == set()


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell_name: str) -> None:
    done = blumfeld("completion", shell_name)
    assert done.returncode == 0
    assert f"_BLUMFELD_COMPLETE={shell_name}_complete" in done.stdout


def test_bash_takes_the_script() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    script = f'eval "$({sys.executable} -m blumfeld completion bash)"; complete -p blumfeld'
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("blumfeld")


def test_another_shell_is_refused() -> None:
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in blumfeld("completion", "tcsh").stderr
