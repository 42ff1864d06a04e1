"""From text to batches: lines, tokenizers (words, byte pairs), vocabulary, token stream, corpus, batches.

For data larger than memory, `chunks` and `token_files` do the same in pieces and on disk.
"""
