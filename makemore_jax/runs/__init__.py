"""Training runs on disk, which can be killed and resumed: the folder, its lock, its writer, and the run itself."""
