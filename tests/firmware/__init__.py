"""The node's application, under the interpreter that runs it."""
