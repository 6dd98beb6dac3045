"""One module for each verb of the console command: absl flags, `main(argv)`, and a docstring, which is its help.

The first line of that docstring is what `tofu-jax --help` lists. A process runs one verb, so verbs may share names of flags;
for the same reason no verb imports another, and heavy imports stand inside `main`, for `--help` to be quick.
"""
