"""`python -m tpbench` is the `tpbench` command."""

from tpbench.cli import main

if __name__ == "__main__":
    main()
