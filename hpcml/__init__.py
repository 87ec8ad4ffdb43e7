"""hpcml: response properties of many molecules, and networks asked for their reasons."""

__version__ = "0.1.0"
