"""The report: records as one HTML file, for whoever was not there when they were measured."""

from unrolled.render.report.page import Measured, check_packages, write_report

__all__ = ["Measured", "check_packages", "write_report"]
