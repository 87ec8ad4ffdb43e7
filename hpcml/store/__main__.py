"""``python -m hpcml.store > docs/schema.md`` writes the schema as a page for people."""

from hpcml.store.schema import as_markdown

print(as_markdown(), end="")
