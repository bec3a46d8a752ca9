"""Sources of configuration, layered into one `Config`.

Owns precedence and provenance: defaults, profile, properties file, environment, command line, dynamic configs
of the cluster; the later wins. Pure: the texts are read elsewhere. Knows what no property means.

Invariants: every value in a `Config` was parsed and checked; an unknown property is kept and warned of, never
refused; a `Config` never changes, `with_dynamic` makes another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from blumfeld.config.options import BROKER_OPTIONS, is_known
from blumfeld.config.tables.own import PREFIX as OWN_PREFIX
from blumfeld.config.values import ConfigError, Option, Value, format_value, parse

_Int: TypeAlias = int  # `Config` has getters of the names `int`, `bool`, `str` and `list`
_Bool: TypeAlias = bool
_Str: TypeAlias = str


class Source(IntEnum):
    """Where a value comes from; the numbers are DescribeConfigs' (KIP-226)."""

    DYNAMIC_TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    CLIENT_METRICS = 7
    GROUP = 8


class Setting(NamedTuple):
    """One value that was given: its text, its kind of source, and that source in words."""

    text: str
    value: Value
    source: Source
    origin: str


class Layer(NamedTuple):
    """The properties of one source. `origin` is what a complaint about them calls it."""

    origin: str
    properties: Mapping[str, str]
    source: Source = Source.STATIC_BROKER


class Config(Mapping[str, Value]):
    """The effective value of every broker option, and where it comes from.

    `warnings` says what was given and not understood; `unknown` are those properties.
    """

    __slots__ = ("_layers", "_settings", "_values", "unknown", "warnings")

    def __init__(self, layers: Sequence[Layer] = ()) -> None:
        """`layers` from the weakest to the strongest. Raises ConfigError for a value that is not allowed."""
        self._layers = tuple(layers)
        self._settings: dict[str, list[Setting]] = {}
        self._values: dict[str, Value] = {name: option.default for name, option in BROKER_OPTIONS.items()}
        self.unknown: dict[str, str] = {}
        self.warnings: list[str] = []
        for layer in layers:
            for name, text in layer.properties.items():
                self._give(name, text, layer)

    def _give(self, name: str, text: str, layer: Layer) -> None:
        option = BROKER_OPTIONS.get(name)
        if option is None:
            self.unknown[name] = text
            if not is_known(name):
                self.warnings.append(_unknown(name, layer.origin))
            return
        value = parse(option, text, layer.origin)
        self._values[name] = value
        self._settings.setdefault(name, []).insert(0, Setting(text, value, layer.source, layer.origin))

    # A mapping of every option.
    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> _Int:
        return len(self._values)

    # Typed getters: a wrong name or type is our own mistake, so an assertion.
    def int(self, name: _Str) -> _Int:
        """A whole number that has a value."""
        value = self._values[name]
        assert isinstance(value, _INT), f"{name} is no whole number"
        return value

    long = short = int  # noqa: A003 - Kafka's words for the types

    def double(self, name: _Str) -> float:
        """A number that has a value."""
        value = self._values[name]
        assert isinstance(value, float), f"{name} is no number"
        return value

    def bool(self, name: _Str) -> _Bool:
        """True or false."""
        value = self._values[name]
        assert isinstance(value, _BOOL), f"{name} is not true or false"
        return value

    def str(self, name: _Str) -> _Str:
        """A text that has a value."""
        value = self._values[name]
        assert isinstance(value, _STR), f"{name} is no text"
        return value

    def optional_int(self, name: _Str) -> _Int | None:
        """A whole number, or None where it has no value."""
        return None if self._values[name] is None else self.int(name)

    def optional_str(self, name: _Str) -> _Str | None:
        """A text, or None where it has no value."""
        return None if self._values[name] is None else self.str(name)

    def list(self, name: _Str) -> list[_Str]:
        """The members of a list; none where it has no value."""
        value = self._values[name]
        assert value is None or isinstance(value, _LIST), f"{name} is no list"
        return [] if value is None else value

    # Where values come from.
    def settings(self, name: _Str) -> Sequence[Setting]:
        """What was given for an option, strongest first; nothing where it has its default."""
        return self._settings.get(name, ())

    def is_given(self, name: _Str) -> _Bool:
        """Whether any source gave the option a value."""
        return name in self._settings

    def origin(self, name: _Str) -> _Str:
        """The source of the effective value, in words."""
        settings = self._settings.get(name)
        return settings[0].origin if settings else "default"

    def text(self, name: _Str) -> _Str | None:
        """The effective value as a property's text."""
        return format_value(BROKER_OPTIONS[name], self._values[name])

    def with_dynamic(self, cluster: Mapping[_Str, _Str], broker: Mapping[_Str, _Str]) -> Config:
        """This configuration under the cluster's dynamic configs: `cluster` for all brokers, `broker` for
        this one.

        Earlier dynamic configs are replaced. Values that are not allowed are left out and warned of: they
        were checked when they were set, perhaps by a newer node.
        """
        static = [layer for layer in self._layers if layer.source is Source.STATIC_BROKER]
        warnings: list[_Str] = []
        layers = [
            _allowed(Layer("dynamic config of the cluster", cluster, Source.DYNAMIC_DEFAULT_BROKER), warnings),
            _allowed(Layer("dynamic config of this broker", broker, Source.DYNAMIC_BROKER), warnings),
        ]
        config = Config([*static, *layers])
        config.warnings.extend(warnings)
        return config

    def with_layer(self, layer: Layer) -> Config:
        """This configuration with one more source on top."""
        return Config([*self._layers, layer])

    # What several properties say together.
    @property
    def node_id(self) -> _Int | None:
        """node.id, or broker.id where only that is given; None where neither is."""
        value = self._values["node.id"]
        if value is None and self.int("broker.id") >= 0:
            return self.int("broker.id")
        assert value is None or isinstance(value, _INT)
        return value

    @property
    def log_dirs(self) -> Sequence[_Str]:
        """log.dirs, or log.dir where that one is not set."""
        return self.list("log.dirs") or self.list("log.dir")


_INT, _BOOL, _STR, _LIST = int, bool, str, list


def _allowed(layer: Layer, warnings: list[str]) -> Layer:
    kept = {}
    for name, text in layer.properties.items():
        option = BROKER_OPTIONS.get(name)
        if option is not None:
            try:
                parse(option, text, layer.origin)
            except ConfigError as error:
                warnings.append(f"{error}; ignored")
                continue
        kept[name] = text
    return layer._replace(properties=kept)


def _unknown(name: str, origin: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, BROKER_OPTIONS, n=1, cutoff=0.85)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{name} ({origin}) is not known here and has no effect{hint}"


def load(
    *,
    profile: str = "dev",
    brokers: int = 1,
    planned: Mapping[str, str] | None = None,
    file: tuple[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
) -> Config:
    """The configuration from all static sources.

    Args:
        profile: `test`, `dev`, `durable`, or `none` for Apache Kafka's bare defaults.
        brokers: how many brokers the cluster is configured to have; the profile's replication factors depend
        on it.
        planned: what the plan of the cluster decides for one node (addresses, ids, directories).
        file: (name, text) of a server.properties.
        environment: the process's environment; `KAFKA_*` counts.
        settings: `name=value` texts, as given to `--set`.

    Raises ConfigError.
    """
    from blumfeld.config.profiles import profile_properties

    layers = [Layer(f"profile {profile}", profile_properties(profile, brokers))]
    if planned:
        layers.append(Layer("cluster plan", planned))
    if file is not None:
        layers.append(Layer(file[0], parse_properties(file[1])))
    if environment is not None:
        layers.append(Layer("environment", environment_properties(environment)))
    if settings:
        layers.append(Layer("--set", parse_settings(settings)))
    return Config(layers)


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """`name=value` texts as properties; the last of a name wins."""
    properties = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise ConfigError(setting, None, "--set", "written as name=value")
        properties[name.strip()] = value
    return properties


_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPED = r"(?s)\\(u[0-9a-fA-F]{4}|.)"
_KEY_END = r"(?<!\\)(?:\\\\)*([=:\s])"


def parse_properties(text: str) -> dict[str, str]:
    """The properties of a `server.properties` file: Java's format, with comments, continued lines and escapes."""
    properties: dict[str, str] = {}
    logical = ""
    for line in text.splitlines():
        stripped = line.lstrip(" \t\f")
        if not logical and (not stripped or stripped[0] in "#!"):
            continue
        logical += stripped
        backslashes = len(logical) - len(logical.rstrip("\\"))
        if backslashes % 2:
            logical = logical[:-1]
            continue
        _add_property(properties, logical)
        logical = ""
    if logical:
        _add_property(properties, logical)
    return properties


def _add_property(properties: dict[str, str], line: str) -> None:
    end = re.search(_KEY_END, line)
    key, rest = (line, "") if end is None else (line[: end.start(1)], line[end.start(1) :])
    rest = rest.lstrip(" \t\f")
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(" \t\f")
    properties[_unescape(key)] = _unescape(rest)


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match.group(1)
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)

    return re.sub(_ESCAPED, plain, text) if "\\" in text else text


_ENVIRONMENT_PREFIX = "KAFKA_"
_NOT_PROPERTIES = frozenset(
    {
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_BROKERS",
        "KAFKA_CLUSTER_ID",
        "KAFKA_GC_LOG_OPTS",
        "KAFKA_HEAP_OPTS",
        "KAFKA_HOME",
        "KAFKA_JMX_HOSTNAME",
        "KAFKA_JMX_OPTS",
        "KAFKA_JMX_PORT",
        "KAFKA_JVM_PERFORMANCE_OPTS",
        "KAFKA_LOG4J_LOGGERS",
        "KAFKA_LOG4J_OPTS",
        "KAFKA_LOG4J_ROOT_LOGLEVEL",
        "KAFKA_OPTS",
        "KAFKA_TOOLS_LOG4J_LOGLEVEL",
        "KAFKA_VERSION",
    }
)
_CREATE_TOPICS = "KAFKA_CREATE_TOPICS"
_UNDERSCORES = "_+"
_SEPARATORS = {"_": ".", "__": "_", "___": "-"}


def environment_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """The properties that `KAFKA_*` variables stand for, by the rule of Apache's image.

    One underscore is a dot, two an underscore, three a dash; variables that the image uses otherwise are left
    out.
    """
    properties = {}
    for variable, value in environment.items():
        if variable == _CREATE_TOPICS:
            properties["blumfeld.create.topics"] = value
        elif variable.startswith(_ENVIRONMENT_PREFIX) and variable not in _NOT_PROPERTIES:
            name = variable[len(_ENVIRONMENT_PREFIX) :].lower()
            properties[re.sub(_UNDERSCORES, lambda run: _SEPARATORS.get(run.group(), run.group()), name)] = value
    return properties


def variable_of(name: str) -> str:
    """The environment variable of a property: `log.segment.bytes` → `KAFKA_LOG_SEGMENT_BYTES`."""
    if name == "blumfeld.create.topics":
        return _CREATE_TOPICS
    return _ENVIRONMENT_PREFIX + name.replace("_", "__").replace("-", "___").replace(".", "_").upper()


def is_own(option: Option) -> bool:
    """Whether Apache Kafka does not have the option."""
    return option.name.startswith(OWN_PREFIX)
