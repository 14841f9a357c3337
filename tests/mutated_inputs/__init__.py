"""Case files, answers of workers and command lines that somebody or something spoiled: one seeded change or some each.

    python -m tests.mutated_inputs {specs,frames,lines} COUNT [SEED]

tries so many, prints what ended otherwise than in an answer or a refusal, and how long and large the worst was. The tests try
a few of each.
"""
