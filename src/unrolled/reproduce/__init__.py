"""The evidence for recurrent cells, reproduced: see docs/reproduction.md."""
