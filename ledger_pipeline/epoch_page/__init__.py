"""One epoch as one self-contained HTML page: what it holds, what proves it, and what was refused."""
