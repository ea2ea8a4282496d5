"""Long runs that assert: commands, not tests of the suite. pytest collects none of them.

    make contract-fuzz                      requests made up from the OpenAPI document
    python -m tests.stress.fuzz             damaged input for the parsers
    python -m tests.stress.hostile          attackers beside honest clients
    python -m tests.stress.interruptions    trainings that are interrupted and resumed
    python -m tests.stress.soak             mixed load with a fault every minute

docs/operations.md ("Checks that take long") says what each has shown.
"""
