"""`blumfeld describe`: one topic's partitions and configs."""

from __future__ import annotations

import json

import click

from blumfeld.cli.completion import topics
from blumfeld.cli.session import client_command, show
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.errors import check
from blumfeld.protocol.messages.describe_configs import DescribeConfigsRequest
from blumfeld.protocol.primitives import uuid_to_text

TOPIC_RESOURCE = 2
DYNAMIC_TOPIC_CONFIG = 1


@click.command("describe")
@click.argument("topic", shell_complete=topics)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@click.option("--all-configs", is_flag=True, help="Defaults too, not only what was set for the topic.")
@client_command
async def command(cluster: ClusterClient, topic: str, as_json: bool, all_configs: bool) -> None:
    """Show TOPIC: id, configs, and each partition's leader, replicas and in-sync replicas."""
    found = await cluster.topic(topic, leading=())
    request = DescribeConfigsRequest(
        resources=[
            DescribeConfigsRequest.Resource(resource_type=TOPIC_RESOURCE, resource_name=topic, configuration_keys=None)
        ]
    )
    result = (await cluster.any_broker(request)).results[0]
    check(result.error_code, f"configs of {topic}", result.error_message)
    configs = {c.name: c.value for c in result.configs if all_configs or c.config_source == DYNAMIC_TOPIC_CONFIG}
    partitions = sorted(found.partitions, key=lambda p: p.partition_index)
    titles = ("partition", "leader", "epoch", "replicas", "isr")
    if as_json:
        rows = [
            dict(
                zip(
                    titles,
                    (p.partition_index, p.leader_id, p.leader_epoch, p.replica_nodes, p.isr_nodes),
                    strict=True,
                )
            )
            for p in partitions
        ]
        description = {
            "topic": topic,
            "id": uuid_to_text(found.topic_id),
            "configs": configs,
            "partitions": rows,
        }
        click.echo(json.dumps(description, indent=2))
        return
    click.echo(f"{topic}  id {uuid_to_text(found.topic_id)}")
    for name, value in sorted(configs.items()):
        click.echo(f"  {name}={value}")
    show(
        [
            (
                p.partition_index,
                p.leader_id,
                p.leader_epoch,
                ",".join(map(str, p.replica_nodes)),
                ",".join(map(str, p.isr_nodes)),
            )
            for p in partitions
        ],
        titles,
        as_json=False,
    )
