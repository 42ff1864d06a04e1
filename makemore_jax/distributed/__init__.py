"""Many devices, batches made on the host, many processes, and states saved in shards.

All of it is attached to the core from outside.
"""
