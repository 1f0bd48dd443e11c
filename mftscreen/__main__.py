"""``python -m mftscreen``."""

from mftscreen.cli import main

if __name__ == "__main__":
    main()
