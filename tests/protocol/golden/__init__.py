"""Frames of real clients and of Apache Kafka, and the tests that read and write them."""
