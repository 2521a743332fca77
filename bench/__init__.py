"""Benchmarks: ``python -m bench [registrations memory codec pages]``, or ``make bench``.

Every figure stands beside a baseline measured in the same run, because absolute figures belong to a machine.
What they mean, and what limits them, is in ``docs/performance.md``.
"""
