"""What commands share: flags, one-line errors, signals, cores."""
