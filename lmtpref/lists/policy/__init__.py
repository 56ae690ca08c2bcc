"""The right to post: rules, the facts that they get, and their verdicts."""
