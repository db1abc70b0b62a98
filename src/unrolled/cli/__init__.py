"""The command line: arguments in, files out; no logic of its own."""
