"""Programs that run as files in a process of their own, with one runtime each and nothing of this package."""
