"""`python -m metalgen`: the command line."""

from metalgen.cli import main

if __name__ == "__main__":
    main()
