"""The studies: one folder each, found by `repro.study.studies` and by nothing else."""
