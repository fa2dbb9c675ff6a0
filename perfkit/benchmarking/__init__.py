"""The same work before and after, on a project's own rows and addresses: what `perfkit_benchmark` measures.

A project need not write anything for it.
It may declare in a module `perfkit_benchmarks` of its apps what it would like to know:
`compare` two ways of its own to do the same, `ask` addresses that take parameters.
"""

from perfkit.benchmarking.declared import ask, compare

__all__ = ["ask", "compare"]
