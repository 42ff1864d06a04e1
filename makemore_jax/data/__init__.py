"""Text to tokens and batches: lines, what a token is (words, byte pairs), vocabulary, token stream, corpus, batches.

Then the same in chunks and files, for data larger than memory.
"""
