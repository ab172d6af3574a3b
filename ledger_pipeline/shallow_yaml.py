"""YAML as people write it: refused, with the place, where it nests deeper than any file of theirs."""

import yaml

MAX_YAML_DEPTH = 64
"""Levels of mappings and sequences that a file may have: a repo-spec has a dozen at the most."""


class ShallowLoader(yaml.SafeLoader):
    """SafeLoader that raises ComposerError, a YAMLError, for what nests deeper than MAX_YAML_DEPTH."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The node that comes next, with all within it."""
        if self._depth >= MAX_YAML_DEPTH and self.check_event(yaml.CollectionStartEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"it nests deeper than {MAX_YAML_DEPTH} levels", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node
