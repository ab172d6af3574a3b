"""The public pages: what finalized epochs paid, for everybody to read. Nothing here writes."""
