"""layerkit against its peers: ``python -m tests.benchmarks.peers`` prints a table, in Markdown.

Thread pools disturb each other within one process, so each contender is a process of its own, and all wait while one
works: `worker` is such a process, `contender` the handle of one, `with_…` what it does, `rows` the table.
"""
