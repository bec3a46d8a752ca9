"""One script of requests, asked of two brokers: what they answer, made comparable, and what may differ."""
