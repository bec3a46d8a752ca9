"""Configuration: one table of options, and where their values come from.

Pure: texts in, values out; reading files and the environment is `launch/`'s. `options.py` is the table's
face, `values.py` parses and checks, `sources.py` layers the sources into a `Config`, `describe.py` answers
DescribeConfigs.
"""
