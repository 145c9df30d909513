"""Mutation testing: break the estimators on purpose, and count the breaks that a test notices.

    python lib/tests/mutants.py FOLDER [MODULE ...]

copies lib into FOLDER and has cosmic-ray break the copy, one operator or number at a time, as
lib/tests/metagrad/mutation.toml says. It prints how many a test killed, and the survivors as
differences. Given the same FOLDER again, it tries only the survivors again.

Starting Python with JAX takes longer than most mutants live. So this process imports what the
tests need except metagrad itself, and forks a child for each mutant.
"""

import filecmp
import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "metagrad" / "mutation.toml"
TOOL = [sys.executable, "-m", "cosmic_ray.cli"]


def ask(address, arguments):
    """What cosmic-ray calls for each mutant: have the waiting process run the tests."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(json.dumps(arguments).encode())
        connection.shutdown(socket.SHUT_WR)
        return int(connection.recv(16))


def run_tests(arguments, folder, timeout):
    """Run pytest in a fork of this process; its exit status."""
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == -signal.SIGALRM:
            print(f"  the next one counts as killed: it ran past {timeout} seconds", flush=True)
        return status
    signal.alarm(timeout)
    os.chdir(folder / "lib" / "tests" / "metagrad")
    sys.path.insert(0, str(folder / "lib"))
    sys.dont_write_bytecode = True  # a mutant may be as old and as long as the one before
    with open(folder / "last.log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        import pytest

        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *arguments])
        sys.stdout.flush()
    os._exit(int(status))


def serve(listener, driver, folder, timeout):
    """Answer `ask` until the driver is done."""
    while driver.poll() is None:
        if select.select([listener], [], [], 1.0)[0]:
            with listener.accept()[0] as connection:
                request = b""
                while part := connection.recv(4096):
                    request += part
                status = run_tests(json.loads(request), folder, timeout)
                connection.sendall(str(abs(status)).encode())
    return driver.returncode


def prepare(folder, module, command):
    """A session of cosmic-ray: all mutants of a module, or what survived in the last one."""
    settings, session = folder / f"{module}.toml", folder / f"{module}.sqlite"
    tried, source = folder / f"{module}.py", HERE.parent / "metagrad" / f"{module}.py"
    broken = folder / "lib" / "metagrad" / f"{module}.py"
    arguments = " ".join(f"'{word}'" for word in command)
    head = f'[cosmic-ray]\nmodule-path = "{broken}"\ntest-command = "{arguments}"\n'
    settings.write_text(CONFIG.read_text().replace("[cosmic-ray]\n", head))
    if session.exists() and filecmp.cmp(tried, source, shallow=False):
        with sqlite3.connect(session) as store:
            store.execute("delete from work_results where test_outcome = 'SURVIVED'")
        return settings, session
    shutil.copy(source, tried)
    session.unlink(missing_ok=True)
    keep = [sys.executable, "-m", "cosmic_ray.tools.filters.operators_filter", session, settings]
    subprocess.run([*TOOL, "init", settings, session], check=True)
    subprocess.run(keep, check=True)
    return settings, session


def report(module, session):
    """Print what a session found."""
    with sqlite3.connect(session) as store:
        rows = store.execute(
            "select start_pos_row, operator_name, test_outcome, diff from work_results "
            "join mutation_specs using (job_id) where worker_outcome != 'SKIPPED' order by 1"
        ).fetchall()
    survivors = [row for row in rows if row[2] != "KILLED"]
    print(f"{module}: {len(rows) - len(survivors)} of {len(rows)} killed", flush=True)
    for line, operator, _, difference in survivors:
        lines = difference.splitlines()[3:]  # below those that name the file
        changed = [x for x in lines if x[:1] in ("+", "-")]
        print(f"  line {line}, {operator}", *changed, sep="\n    ", flush=True)


def drive(folder, address, modules):
    """Break one module after the other."""
    tests = tomllib.loads(CONFIG.read_text())["tests"]
    for module in modules or tests:
        command = [sys.executable, __file__, "ask", str(address), *tests[module]]
        if subprocess.run(command).returncode:
            sys.exit(f"{module}: the tests fail unbroken, see {folder}/last.log")
        settings, session = prepare(folder, module, command)
        subprocess.run([*TOOL, "exec", settings, session], check=True)
        report(module, session)


def main(folder, *modules):
    folder = Path(folder).resolve()
    shutil.rmtree(folder / "lib", ignore_errors=True)
    (folder / "socket").unlink(missing_ok=True)
    unused = shutil.ignore_patterns("__pycache__", "node_modules")
    shutil.copytree(HERE.parent, folder / "lib", ignore=unused)
    # Where pytest finds this file is the root, below which it looks for conftest.py.
    shutil.copy(HERE.parents[1] / "pyproject.toml", folder)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["XLA_FLAGS"] = "--xla_cpu_max_isa=AVX"  # as lib/tests/conftest.py has it
    for name in ("jax", "optax", "pytest", "beartype", "jaxtyping", "hypothesis"):
        __import__(name)
    address = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        driver = subprocess.Popen([sys.executable, __file__, "drive", folder, address, *modules])
        # A little sooner than cosmic-ray gives up, which would then not be there to be answered.
        timeout = int(tomllib.loads(CONFIG.read_text())["cosmic-ray"]["timeout"]) - 10
        sys.exit(serve(listener, driver, folder, timeout))


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        sys.exit(ask(sys.argv[2], sys.argv[3:]))
    elif sys.argv[1] == "drive":
        drive(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        main(*sys.argv[1:])
