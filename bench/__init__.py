"""Benchmarks, beside Apache Kafka in the same run where there is Java."""
