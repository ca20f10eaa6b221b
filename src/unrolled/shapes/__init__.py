"""The shapes of recurrent layers and cells: a configuration is built, run and compared with its loop of cells.

`configuration` names what to build, `measure` builds and runs it, `record` is what came out.
"""
