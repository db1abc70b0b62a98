"""Models put to use elsewhere: other people's networks on this package's modules, and back."""
