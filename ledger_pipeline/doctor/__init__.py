"""What a deployment needs, each checked against the real thing, with what to do where it is not so. Changes nothing."""
