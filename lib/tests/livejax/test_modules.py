"""The module as an object: deterministic text, ES module and classic script, arguments checked."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from noderun import Node, NodeError, node_path

import livejax

LIB = Path(__file__).parents[2]


def rollout(params, start):
    def body(x, _):
        return x - params["step"] * jax.grad(lambda v: jnp.sum(jnp.cosh(v) * params["scale"]))(x), x

    return {"last": (out := lax.scan(body, start, None, length=6))[0], "path": out[1]}


ARGS = ({"step": 0.1, "scale": np.array([1.0, 2.0])}, np.array([0.5, -0.5]))
PROGRAM = """
import jax.numpy as jnp, numpy as np, livejax, sys
sys.path.insert(0, {here!r})
from test_modules import ARGS, rollout
print(livejax.compile(rollout, *ARGS).source, end="")
"""


def test_two_compiles_give_the_same_text():
    first = livejax.compile(rollout, *ARGS)
    # Other compiles in between must not change names or memory.
    livejax.compile(lambda x: jnp.sort(x), np.ones(5))
    assert livejax.compile(rollout, *ARGS).source == first.source
    assert livejax.compile(rollout, *ARGS).script() == first.script()


@pytest.mark.parametrize("seed", ["1", "77"])
def test_a_fresh_process_with_other_hashes_gives_the_same_text(seed):
    here = str(Path(__file__).parent)
    path = os.pathsep.join([str(LIB), here])
    fresh = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(here=here)],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert fresh.stdout == livejax.compile(rollout, *ARGS).source


def test_values_of_the_example_arguments_do_not_matter():
    other = jax.tree.map(lambda leaf: leaf * 3.0, ARGS)
    assert livejax.compile(rollout, *other).source == livejax.compile(rollout, *ARGS).source


def test_specs_tell_names_shapes_and_types():
    compiled = livejax.compile(rollout, *ARGS)
    assert [spec.shape for spec in compiled.inputs] == [(2,), (), (2,)]
    assert "scale" in compiled.inputs[0].name and "step" in compiled.inputs[1].name
    assert [spec.shape for spec in compiled.outputs] == [(2,), (6, 2)]
    assert "last" in compiled.outputs[0].name and "path" in compiled.outputs[1].name
    assert {str(spec.dtype) for spec in compiled.inputs + compiled.outputs} == {"float64"}
    with pytest.raises(AttributeError):
        compiled.source = ""


def test_the_module_imports_from_a_file(tmp_path):
    compiled = livejax.compile(rollout, *ARGS)
    (tmp_path / "module.mjs").write_text(compiled.source)
    (tmp_path / "use.mjs").write_text(
        "import main, * as all from './module.mjs';"
        "const lengths = main([1, 2], 0.1, [0.5, -0.5]).map(x => x.length);"
        "console.log(JSON.stringify([Object.keys(all), lengths]));"
    )
    done = subprocess.run(
        [node_path(), tmp_path / "use.mjs"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == '[["default"],[2,12]]'
    assert compiled.source.rstrip().endswith("export default main;")


def test_the_script_is_one_expression_that_leaks_no_name(tmp_path):
    compiled = livejax.compile(rollout, *ARGS)
    text = compiled.script().rstrip().removesuffix(";")
    (tmp_path / "use.js").write_text(
        "const before = Object.keys(globalThis).join();"
        f"const f = ({text});"
        f"const g = ({text});"
        "if (Object.keys(globalThis).join() !== before) throw new Error('leak');"
        "console.log(typeof f, f !== g, f([1, 2], 0.1, [0.5, -0.5])[0].length);"
    )
    done = subprocess.run(
        [node_path(), tmp_path / "use.js"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["function", "true", "2"]


def test_script_and_module_agree(node):
    compiled = livejax.compile(rollout, *ARGS)
    leaves = [jax.tree.leaves(ARGS)]
    module, script = (
        node.call(compiled.source, leaves),
        node.call(compiled.script(), leaves, script=True),
    )
    for a, b in zip(module[0], script[0], strict=True):
        np.testing.assert_array_equal(a, b)


JAVASCRIPT = """
const fail = (message) => { throw new Error(message); };
const same = (a, b) => a.length === b.length && a.every((x, i) => Object.is(x, b[i]));
"""


def in_node(compiled, body: str) -> str:
    """Runs statements that may use `main`; what they print."""
    script = f"{JAVASCRIPT}const main = ({compiled.script().rstrip().removesuffix(';')});{body}"
    done = subprocess.run([node_path(), "-e", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_results_are_fresh_copies_and_arguments_stay_untouched():
    compiled = livejax.compile(lambda x, s: (x * s, x, jnp.cumsum(x), s), np.ones(20), 1.0)
    in_node(compiled, """
        const x = Float64Array.from({length: 20}, (_, i) => i + 1);
        const kept = x.slice();
        const first = main(x, 2);
        const copy = first.map((a) => a.slice());
        if (!same(x, kept)) fail("argument changed");
        if (first[1] === x) fail("argument returned");
        main(x.map((v) => -v), 3);
        first.forEach((a, i) => same(a, copy[i]) || fail("the next call overwrote a result"));
        first[0].fill(7); first[1].fill(7); first[2].fill(7);
        main(x, 2).forEach((a, i) => same(a, copy[i]) || fail("what a caller wrote has an effect"));
        if (new Set(first.map((a) => a.buffer)).size !== 4) fail("results share memory");
        if (first.some((a) => a.buffer.byteLength !== 8 * a.length)) fail("a view");
    """)  # fmt: skip


def test_an_array_argument_may_be_any_array_of_numbers():
    compiled = livejax.compile(lambda x, n, p: x * n + p, np.ones(3), np.int32(1), True)
    in_node(compiled, """
        const want = main(new Float64Array([1, 2, 3]), 2, true)[0];
        if (!same(want, new Float64Array([3, 5, 7]))) fail(want);
        for (const x of [[1, 2, 3], new Float32Array([1, 2, 3]), new Int32Array([1, 2, 3])]) {
          if (!same(main(x, 2, true)[0], want)) fail(x.constructor.name);
        }
        if (!same(main([1, 2, 3], 2, 1)[0], want)) fail("1 for true");
        if (!same(main([1, 2, 3], 2, false)[0], new Float64Array([2, 4, 6]))) fail("false");
    """)  # fmt: skip


BAD_CALLS = {
    "too-few": ([np.ones(3)], "2"),
    "too-many": ([np.ones(3), 1.0, 2.0], "2"),
    "none": ([], "2"),
    "wrong-length": ([np.ones(4), 1.0], "3"),
    "empty": ([np.ones(0), 1.0], "3"),
    "array-for-scalar": ([np.ones(3), np.ones(3)], "number"),
    "scalar-for-array": ([1.0, 1.0], "array"),
}


@pytest.mark.parametrize("leaves, says", BAD_CALLS.values(), ids=BAD_CALLS)
def test_wrong_arguments_throw(leaves, says, node):
    compiled = livejax.compile(lambda x, step: x * step, np.ones(3), 1.0)
    with pytest.raises(NodeError, match=says):
        node.call(compiled.source, [leaves])


def test_an_argument_of_integer_type_must_be_one(node):
    compiled = livejax.compile(lambda n: n + 1, np.int32(1))
    assert node.call(compiled.source, [[41]])[0][0].tolist() == [42]
    for bad in (1.5, np.nan, np.inf):
        with pytest.raises(NodeError, match="integer"):
            node.call(compiled.source, [[bad]])


def test_modules_do_not_disturb_each_other(node):
    square = livejax.compile(lambda x: jnp.cumsum(x * x), np.ones(30))
    cube = livejax.compile(lambda x: jnp.cumsum(x * x * x), np.ones(30))
    x = np.linspace(-1, 1, 30)
    for _ in range(2):
        for compiled, want in ((square, np.cumsum(x**2)), (cube, np.cumsum(x**3))):
            np.testing.assert_allclose(node.call(compiled.source, [[x]])[0][0], want, atol=1e-14)


def test_a_call_that_threw_leaves_the_module_usable():
    with Node() as node:
        compiled = livejax.compile(lambda x: jnp.sort(x), np.ones(3))
        with pytest.raises(NodeError):
            node.call(compiled.source, [[np.ones(2)]])
        assert node.call(compiled.source, [[np.array([3.0, 1.0, 2.0])]])[0][0].tolist() == [1, 2, 3]


def test_compiling_needs_no_node():
    code = (
        "import os; os.environ['PATH'] = ''; import livejax; livejax.compile(lambda x: x * 2, 1.0)"
    )
    env = {**os.environ, "PYTHONPATH": str(LIB)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
