"""Blumfeld: a broker and a cluster that work with Apache Kafka clients."""

__version__ = "0.1.0"
