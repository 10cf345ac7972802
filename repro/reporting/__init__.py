"""Figures, tables and the HTML report, all made from records."""
