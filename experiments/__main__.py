"""`python -m experiments VERB` in a clone: the same as `cma-gym VERB`."""

from cma_gym.experiments.cli import program

if __name__ == "__main__":
    program()
