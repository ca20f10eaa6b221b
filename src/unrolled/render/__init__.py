"""Records to files and back, frames to tables (rich) and plots (matplotlib). Nothing here measures anything."""
