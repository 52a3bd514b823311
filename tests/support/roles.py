"""The template's functions and state machines, each of which has a role of its own."""

FUNCTIONS = (
    "Api",
    "Assemble",
    "Cleanup",
    "Create",
    "CreateWorker",
    "Restore",
    "RestoreWorker",
    "Schedules",
    "Upload",
    "Verify",
    "VerifyWorker",
    "Watch",
)

MACHINES = ("AssembleMachine", "CreateMachine", "RestoreMachine", "VerifyMachine")
