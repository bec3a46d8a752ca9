"""A small client over the project's own link: what the command line and the fixture need, not a full client library."""
