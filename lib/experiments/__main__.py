"""`python -m experiments run [NAME ...]`, `... check`, `... list`."""

import argparse
import sys

from experiments import store


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run experiments (all by default), store the results")
    run.add_argument("names", nargs="*", metavar="NAME")
    run.add_argument("--stale", action="store_true", help="leave out those that are up to date")
    commands.add_parser("check", help="fail if a stored result is stale")
    commands.add_parser("list", help="list the experiments")
    options = parser.parse_args()

    if options.command == "list":
        print("\n".join(store.names()))
        return 0
    if options.command == "check":
        stale = [name for name in store.names() if store.is_stale(name)]
        for name in stale:
            print(f"{name} is stale; run: python -m experiments run {name}")
        return bool(stale)
    for name in options.names or store.names():
        if options.stale and not store.is_stale(name):
            continue
        print(f"==> {name}", flush=True)
        print(f"    wrote {store.run(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
