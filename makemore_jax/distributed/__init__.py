"""Training on many devices and processes, batches made on the host, and states saved in shards.

The core does not depend on any of it.
"""
