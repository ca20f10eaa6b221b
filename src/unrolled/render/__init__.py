"""Records to tables (rich), words, frames and plots (matplotlib). Nothing here measures anything.

A file for each record that a user gets in hand, which the record names as its `VIEW`: `answer(record)` is a sentence,
`line(record)` what its `repr` says, `show(record, screen)` prints it. Of the records that a command leaves, `bench`,
`gradflow`, `spectrum`, `forecast` and `shapes`, there are besides `frames(record)`, its tables for CSV files by their
names, and `draw(record, folder)`, its plots, for which alone matplotlib is needed. What every record does with these is
in `display`.
"""
