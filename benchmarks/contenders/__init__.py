"""The contenders: programs that do one kind of work once.

``python -m benchmarks.contenders.NAME '{"port": 2525, …}'``. Each prepares itself, prints a line,
waits for one, works, and prints what it took as a line of JSON: see :mod:`.stage`.
"""
