"""The benchmarks: this package beside its peers, in turns, in one run. ``make bench`` runs them.

A part (:mod:`benchmarks.parts`) measures one promise. A contender (:mod:`benchmarks.contenders`) is
a program that does one kind of work once, in a process of its own. What counts are ratios between
contenders that took turns: the speed of a machine drifts.
"""
