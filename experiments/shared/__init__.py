"""What commands share: flags, errors in one line, signals, cores."""
