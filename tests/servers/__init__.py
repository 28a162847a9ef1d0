"""The real servers that the tests talk to: one module a server.

Each starts a private instance on loopback, on a free port, in a folder of its own, returns when it
answers, and ends with the process that started it. Nothing here knows the package under test.
"""
