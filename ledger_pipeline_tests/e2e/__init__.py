"""The stack in a browser: started by `make e2e`, not by the suite."""
