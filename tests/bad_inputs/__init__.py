"""What a person may give wrongly, made from the command line's own options and from the schema of case files.

    python -m tests.bad_inputs [COMMAND | "case file"]...

tries all of it, or that of those commands, and prints how many there are of each kind and which were not met with one line, exit code 2, within two
seconds, with nothing left behind. The tests try a part each time, and all of it where they search at length.
"""
