"""Whether an epoch's statement follows from its rows, and the archive that lets anybody ask."""
