"""Text to tokens and back: lines, vocabulary, token stream, batches, and the same in files."""
