"""The commands: what they are asked, and one way to measure, save and show."""
