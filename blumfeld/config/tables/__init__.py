"""The rows of the options table, a module for each subject. Data only; `options.py` puts them together."""
