"""How fast the records engine is, against its peers, on the same files in the same run."""
