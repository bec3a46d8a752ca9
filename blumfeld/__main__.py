"""`python -m blumfeld`: the command line."""

from __future__ import annotations

from blumfeld.cli.main import main

if __name__ == "__main__":
    main()
