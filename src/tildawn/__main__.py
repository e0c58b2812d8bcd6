"""``python -m tildawn`` is the ``tildawn`` command.

What it is not: anything more.
"""

from tildawn.faces.cli.main import main


if __name__ == "__main__":
    main()
