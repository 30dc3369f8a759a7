"""`python -m grange`: the same as the command `grange`."""

from grange.cli import main

if __name__ == "__main__":
    main(prog_name="grange")
