"""Binding one listener, and saying in words why it cannot be bound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from blumfeld.broker.listener import Listener
from blumfeld.launch.errors import StartError, busy_port

if TYPE_CHECKING:
    from blumfeld.broker.admission import Admission
    from blumfeld.broker.dispatch import Dispatcher
    from blumfeld.config.listeners import Endpoint
    from blumfeld.config.sources import Config
    from blumfeld.env.environment import Env


async def listen(
    endpoint: Endpoint,
    env: Env,
    config: Config,
    dispatcher: Dispatcher,
    admission: Admission,
    undo: list[Callable[[], Awaitable[object]]],
    on_closed: Callable[[int], None] | None = None,
) -> Listener:
    """A listener that accepts; its end is added to `undo`. Raises StartError where the address can't be had."""
    listener = Listener(endpoint.name, env, config, dispatcher, on_closed, admission=admission)
    try:
        await listener.start(endpoint.host, endpoint.port)
    except OSError as error:
        raise StartError(busy_port(endpoint.host, endpoint.port, error)) from error
    undo.append(listener.stop)
    return listener
