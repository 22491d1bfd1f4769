"""`python -m cma_gym VERB`: the same as `cma-gym VERB`."""

from cma_gym.experiments.cli import program

if __name__ == "__main__":
    program()
