"""The backward that is the rule: rules, handlers, and the trace that puts them into a network."""
