"""``python -m repro``: the same as the command ``repro``."""

from repro.cli import main

if __name__ == "__main__":
    main()
