"""What the library costs: scripts that measure, and the report that the book prints.

* `compiler`, `redraw`: the compiled figures
* `meta_gradients`: the estimators beside other packages; one command, see its docstring
* `stable`: the meta-gradients of a step size that stay in range; one command, too
* `surroundings`: the separate environment of the other packages, threads, what machine it was
* `step_sizes`, `maml`: the two works; `peers_jax`, `peers_torch`: how other packages do them
* `timing`, `growth`: how a time is taken, and what is varied
* `targets`, `report`: what was hoped for, and the tables
"""
