"""Results on disk: one codec for every record, atomic files, and a folder in which nothing is lost."""
