"""`grange`, and the same as `python -m grange`."""

from grange.cli.commands import main

if __name__ == "__main__":
    main(prog_name="grange")
