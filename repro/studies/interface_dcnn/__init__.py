"""Buried step or intermixed interface, told from simulated 4D-STEM by 3-D convolutions."""

TITLE = "Interface structures from simulated 4D-STEM: cation intermixing or roughening"
VARIANTS = ("faithful", "improved")
DEVIATIONS = [
    "The patterns are simulated anew with our own multislice code; the authors used muSTEM.",
    "The text leaves out most of the network's layers; what is chosen stands in the README.",
]
