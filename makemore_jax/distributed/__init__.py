"""Many devices and many processes, attached to the core from outside."""
