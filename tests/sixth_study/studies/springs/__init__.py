"""A study as small as a study can be, for the tests."""

TITLE = "Stiffness of springs"
VARIANTS = ("faithful", "improved")
DEVIATIONS = ["There is no such paper"]
