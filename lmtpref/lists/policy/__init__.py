"""Who may post: rules, what they are told, and what they can say."""
