"""Records to tables (rich), words, frames and plots (matplotlib). Nothing here measures anything.

A file for each record that a command leaves, `bench`, `gradflow`, `spectrum`, `forecast` and `shapes`, with three
functions: `show(record, screen)` prints it, `frames(record)` gives its tables for CSV files by their names, and
`draw(record, folder)` draws its plots, for which alone matplotlib is needed.
"""
