"""A run: one study's data set, trained networks, evaluation and record, in one folder.

`choices` says what the user chose; `run` is the run itself, made or opened once; then a module a
stage, in their order: `data`, `training`, `evaluation`, `record`. `whole` goes all the way,
`apply` uses a trained run on a user's file, `baselines` keeps the records under ``results/``.
"""
