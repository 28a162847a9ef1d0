"""From a claimed row to a recorded outcome.

Owns claiming, sending, deciding and recording, and the breaker of a connection. Must not know
Flask, nor when it is called: that is the worker's business.
"""
